#!/usr/bin/env python3
"""Runs the recipes of docs/verifying.md as they stand there, but for addresses, against a running Mintgate.

    python3 xtask/recipes/verifying.py --binary target/debug/mintgate [node python rust rust-feed bare-rust go go-jwx spring-3.5 spring-4]

Each recipe must answer 200 for a user with the role, 403 for one without, and 401 for no token, a refresh token, and tokens with another
type, algorithm, audience, issuer, time or signature; accept tokens from before and after a rotation of the key; and answer 503 if it starts
while Mintgate is down. A recipe that follows the feed of ended sessions must refuse within a second of a logout, ten times; the times are
printed. No recipe may have more lines of code than stated here. What a recipe needs is installed into a temporary directory;
those in Rust are compiled in target/recipes. `mintgate dev` is the identity provider, `mintgate serve` the service.
"""

import argparse
import base64
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).absolute().parents[2]
PAGE = ROOT / "docs/verifying.md"
ISSUER, AUDIENCE = "https://auth.example.com", "https://api.example.com"
LEEWAY = 60
# Signs the claims of a token anew, with changes of header and claims, by a key of Mintgate or, without one, a new one. With HS256, the
# public key is the secret.
FORGE = """
const { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign } = require("node:crypto");
const [token, file, header, claims] = process.argv.slice(1);
const jwk = file && JSON.parse(require("node:fs").readFileSync(file));
const key = jwk ? createPrivateKey({ key: jwk, format: "jwk" }) : generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
const changed = (index, changes) => {
  const part = { ...JSON.parse(Buffer.from(token.split(".")[index], "base64url")), ...JSON.parse(changes) };
  return Buffer.from(JSON.stringify(part)).toString("base64url");
};
const signed = changed(0, header) + "." + changed(1, claims);
const signature = JSON.parse(header).alg === "HS256"
  ? createHmac("sha256", createPublicKey(key).export({ type: "spki", format: "pem" })).update(signed).digest()
  : sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
process.stdout.write(signed + "." + signature.toString("base64url"));
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def block(language, first):
    """The code block of the page in this language whose first line contains this text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    found = [it for it in blocks if first in it.split("\n")[0]]
    if len(found) != 1:
        sys.exit(f"{PAGE.name}: {len(found)} blocks of {language} begin with {first!r}")
    return found[0]


def lines_of_code(text):
    """Lines but for blank ones, comments, imports, and those that only close brackets."""
    skipped = re.compile(r"\s*($|//|# |import |from |use |package |[\[\](){};,]+$|\t\"[\w./-]+\"$)")
    return sum(1 for line in text.split("\n") if not skipped.match(line))


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def call(url, headers=None, body=None):
    """Status, headers and body of an answer; status 0 if there is none."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {**(headers or {}), **({"Content-Type": "application/json"} if data else {})}
    request = urllib.request.Request(url, data, headers)
    try:
        answer = urllib.request.build_opener(NoRedirects).open(request, timeout=10)
    except urllib.error.HTTPError as error:
        answer = error
    except (urllib.error.URLError, OSError):
        return 0, {}, b""
    return answer.status, answer.headers, answer.read()


class Mintgate:
    """The service with its identity provider."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory
        self.processes = {}
        [self.port, self.ops, self.app, dev_ops, self.idp] = [free_port() for _ in range(5)]
        self.url = f"http://127.0.0.1:{self.port}"
        (directory / "idp").mkdir()
        made = subprocess.run([binary, "clients", "new", "orders", "--json"], cwd=directory, check=True, capture_output=True)
        self.client = json.loads(made.stdout)
        listen = ["--listen", f"127.0.0.1:{self.app}", "--ops-listen", f"127.0.0.1:{dev_ops}"]
        self.start("idp", ["dev", *listen, "--idp-listen", f"127.0.0.1:{self.idp}"], directory / "idp")
        wait(f"http://127.0.0.1:{self.idp}/.well-known/openid-configuration")

    def start(self, name, arguments, directory):
        log = open(directory / f"{name}.log", "wb")
        command = [self.binary, *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MINTGATE")}
        self.processes[name] = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, env=environment)

    def stop(self, name):
        process = self.processes.pop(name, None)
        if process:
            process.terminate()
            process.wait(20)

    def serve(self, token_type="at+jwt"):
        """(Re)starts the service with this `typ` of access tokens."""
        self.stop("service")
        typ = f'typ = "{token_type}"\n' if token_type != "at+jwt" else ""
        (self.directory / "mintgate.toml").write_text(
            f'[server]\nlisten = "127.0.0.1:{self.port}"\npublic_url = "{self.url}"\n'
            f'[ops]\nlisten = "127.0.0.1:{self.ops}"\n[keys]\ndir = "keys"\npublish_ahead_secs = 0\n'
            f'[tokens]\naudience = ["{AUDIENCE}"]\naccess_ttl_secs = 3600\n{typ}'
            f'[[clients]]\nid = "orders"\nsecret_hash = "{self.client["secret_hash"]}"\n'
            '[roles]\ndefault = ["user"]\n[[roles.rules]]\nprovider = "mock"\nclaim = "email"\n'
            'in = ["alice@example.com"]\ngrant = ["admin"]\n'
            f'[[providers]]\nid = "mock"\npreset = "oidc"\nissuer = "http://127.0.0.1:{self.idp}"\n'
            f'client_id = "mintgate"\nclient_secret = "mintgate-dev-secret"\nredirect_uris = ["http://127.0.0.1:{self.app}/callback"]\n'
        )
        (self.directory / "mintgate.toml").chmod(0o600)
        subprocess.run([self.binary, "migrate"], cwd=self.directory, check=True, capture_output=True)
        self.start("service", ["serve"], self.directory)
        wait(f"http://127.0.0.1:{self.ops}/health/ready")

    def sign_in(self, user):
        """The access token and the refresh token of a new session."""
        callback = f"http://127.0.0.1:{self.app}/callback"
        query = urllib.parse.urlencode({
            "response_type": "code", "client_id": "mintgate", "redirect_uri": callback,
            "scope": "openid profile email", "prompt": "none", "login_hint": user,
        })
        _, headers, _ = call(f"http://127.0.0.1:{self.idp}/authorize?{query}")
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(headers["Location"]).query)["code"][0]
        body = {"authCode": code, "provider": "mock", "redirectUri": callback}
        status, headers, body = call(f"{self.url}/api/v1/auth/token", body=body)
        assert status == 200, body
        cookies = "\n".join(headers.get_all("Set-Cookie"))
        refresh = re.search(r"Auth-Refresh-Token=([^;]+)", cookies).group(1)
        return json.loads(body)["accessToken"], refresh

    def log_out_everywhere(self, token):
        status, _, body = call(f"{self.url}/api/v1/auth/logout-all", {"Authorization": f"Bearer {token}"}, {})
        assert status == 200, body

    def forge(self, token, header=None, claims=None, with_key=True):
        """The token with other members, signed with the key of Mintgate that signed it."""
        kid = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]
        keys = (self.directory / "keys").glob("access-*.jwk")
        file = next(str(it) for it in keys if json.loads(it.read_text())["kid"] == kid) if with_key else ""
        command = ["node", "-e", FORGE, token, file, json.dumps(header or {}), json.dumps(claims or {})]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def rotate(self):
        subprocess.run([self.binary, "keys", "rotate"], cwd=self.directory, check=True, capture_output=True)


def wait(url, seconds=60):
    end = time.monotonic() + seconds
    while call(url)[0] != 200:
        if time.monotonic() > end:
            sys.exit(f"{url} does not answer 200")
        time.sleep(0.1)


class Recipe:
    """A service of the page, in a directory of its own."""

    def __init__(self, name, directory, issuer, secret):
        self.name, self.directory, self.port = name, directory / name, free_port()
        self.issuer = issuer
        self.process = None
        self.lines = 0
        self.secret = secret
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()

    def write(self, path, text, count=True):
        path = self.directory / path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lines += lines_of_code(text) if count else 0
        path.write_text(text.replace(ISSUER, self.issuer).replace(":3000", f":{self.port}").replace("(3000,", f"({self.port},"))

    def install(self, *command, **environment):
        environment = {**os.environ, **environment}
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(f"{self.name}: {' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    def start(self, *command):
        self.command = command
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
        end = time.monotonic() + 120
        while call(f"http://127.0.0.1:{self.port}/admin")[0] == 0:
            if time.monotonic() > end or self.process.poll() is not None:
                sys.exit(f"{self.name} does not start:\n{(self.directory / 'log').read_text()[-3000:]}")
            time.sleep(0.1)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def expect(self, what, token, *statuses):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status = call(f"http://127.0.0.1:{self.port}/admin", headers)[0]
        if status not in statuses:
            log = (self.directory / "log").read_text()[-2000:]
            sys.exit(f"{self.name}: {what}: {status} instead of {statuses}\n{log}")


def node(recipe):
    recipe.write("server.mjs", block("js", "server.mjs"))
    recipe.install("npm", "install", "--silent", "jose")
    recipe.start("node", "server.mjs")


def python(recipe):
    recipe.write("service.py", block("python", "service.py"))
    recipe.install(sys.executable, "-m", "venv", "venv")
    recipe.install("venv/bin/pip", "install", "--quiet", "PyJWT[crypto]", "fastapi", "uvicorn")
    recipe.start("venv/bin/uvicorn", "service:app", "--port", str(recipe.port))


def cargo_build(recipe, dependencies):
    """Builds in a directory that later runs find warm."""
    recipe.write("Cargo.toml", f"""
[package]
name = "recipe-{recipe.name}"
edition = "2024"
[dependencies]
{dependencies}
[workspace]
""", count=False)
    shutil.copy(ROOT / "Cargo.lock", recipe.directory / "Cargo.lock")
    target = ROOT / "target/recipes"
    recipe.install("cargo", "build", "--quiet", CARGO_TARGET_DIR=str(target))
    return str(target / "debug" / f"recipe-{recipe.name}")


def rust(recipe):
    recipe.write("src/main.rs", block("rust", "mintgate-verify"))
    recipe.start(cargo_build(recipe, f"""
axum = {{ version = "0.8", default-features = false, features = ["http1", "tokio"] }}
mintgate-verify = {{ path = "{ROOT / "crates/verify"}", features = ["axum"] }}
tokio = {{ version = "1", features = ["macros", "rt-multi-thread", "net"] }}
"""))


def rust_feed(recipe):
    """The first program of the page, with the verifier of the section on revocations."""
    program, feed = block("rust", "mintgate-verify"), block("rust,ignore", "Revocations::new")
    line = next(it for it in program.split("\n") if "let verifier" in it)
    program = program.replace(line, feed).replace("Denied, Guard,", "Denied, Guard, Issuer, Revocations,")
    recipe.write("src/main.rs", program)
    os.environ["MINTGATE_CLIENT_SECRET"] = recipe.secret
    recipe.start(cargo_build(recipe, f"""
axum = {{ version = "0.8", default-features = false, features = ["http1", "tokio"] }}
mintgate-verify = {{ path = "{ROOT / "crates/verify"}", features = ["axum", "revocations"] }}
tokio = {{ version = "1", features = ["macros", "rt-multi-thread", "net"] }}
"""))


def bare_rust(recipe):
    recipe.write("src/bare.rs", block("rust", "bare jsonwebtoken"))
    # What the page leaves to the reader: a server, and the keys.
    recipe.write("src/main.rs", """
mod bare;
use std::io::{Read, Write};

fn main() {
    let url = std::env::args().nth(1).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:3000").unwrap();
    for mut stream in listener.incoming().map(Result::unwrap) {
        let mut head = [0; 8192];
        let length = stream.read(&mut head).unwrap();
        let head = String::from_utf8_lossy(&head[..length]);
        let token = head.split("Bearer ").nth(1).map_or("", |rest| rest.split_whitespace().next().unwrap_or(""));
        let jwks = std::process::Command::new("curl").args(["-sS", &url]).output().unwrap().stdout;
        let status = match serde_json::from_slice(&jwks) {
            Err(_) => "503 Unavailable",
            Ok(jwks) => match bare::verify(token, &jwks) {
                None => "401 Unauthorized",
                Some(claims) if claims["roles"].as_array().unwrap().contains(&"admin".into()) => "200 OK",
                Some(_) => "403 Forbidden",
            },
        };
        write!(stream, "HTTP/1.1 {status}\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n").unwrap();
    }
}
""", count=False)
    program = cargo_build(recipe, """
jsonwebtoken = { version = "10", features = ["rust_crypto"] }
serde_json = "1"
""")
    recipe.start(program, f"{recipe.issuer}/.well-known/jwks.json")


def go_build(recipe, first):
    recipe.write("main.go", block("go", first))
    recipe.install("go", "mod", "init", "recipe")
    recipe.install("go", "mod", "tidy")
    recipe.install("go", "build", "-o", "recipe")
    recipe.start("./recipe")


def go(recipe):
    go_build(recipe, "keyfunc")


def go_jwx(recipe):
    go_build(recipe, "jwx")


def spring(version, web):
    def build(recipe):
        recipe.write("src/main/resources/application.yaml", block("yaml", "application.yaml"), count=False)
        recipe.write("src/main/java/example/Security.java", block("java", "Security.java"))
        # What a service has in any case.
        recipe.write("src/main/java/example/Service.java", """
package example;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.*;

@SpringBootApplication
@RestController
public class Service {
    public static void main(String[] arguments) { SpringApplication.run(Service.class, arguments); }
    @GetMapping("/admin") String admin() { return ""; }
}
""", count=False)
        starters = "".join(f"""
    <dependency><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-{it}</artifactId></dependency>"""
            for it in web)
        recipe.write("pom.xml", f"""
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-parent</artifactId><version>{version}</version>
    <relativePath/>
  </parent>
  <groupId>example</groupId><artifactId>recipe</artifactId><version>1</version>
  <properties><java.version>17</java.version></properties>
  <dependencies>{starters}
  </dependencies>
  <build>
    <finalName>recipe</finalName>
    <plugins><plugin>
      <groupId>org.springframework.boot</groupId><artifactId>spring-boot-maven-plugin</artifactId>
    </plugin></plugins>
  </build>
</project>
""", count=False)
        recipe.install("mvn", "--quiet", "--batch-mode", "package")
        recipe.start("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", "target/recipe.jar",
                     "--server.address=127.0.0.1", f"--server.port={recipe.port}")
    return build


SPRING_35 = spring("3.5.7", ["web", "oauth2-resource-server"])
SPRING_4 = spring("4.0.7", ["webmvc", "security-oauth2-resource-server"])
# How each is built, and how many lines of code it has at most.
FOLLOWING = {"rust-feed"}
RECIPES = {
    "node": (node, 9),
    "python": (python, 12),
    "rust": (rust, 8),
    "rust-feed": (rust_feed, 10),
    "bare-rust": (bare_rust, 10),
    "go": (go, 22),
    "go-jwx": (go_jwx, 23),
    "spring-3.5": (SPRING_35, 19),
    "spring-4": (SPRING_4, 19),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="the program mintgate")
    parser.add_argument("--dir", type=pathlib.Path, help="where to install and keep everything")
    parser.add_argument("recipes", nargs="*", default=list(RECIPES), metavar="RECIPE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mintgate-recipes-") as temporary:
        directory = (options.dir or pathlib.Path(temporary)).resolve()
        (directory / "mintgate").mkdir(parents=True)
        mintgate = Mintgate(options.binary.resolve(), directory / "mintgate")
        try:
            run(mintgate, directory, options.recipes)
        finally:
            for name in list(mintgate.processes):
                mintgate.stop(name)


def run(mintgate, directory, names):
    mintgate.serve()
    alice, refresh = mintgate.sign_in("alice")
    bob, _ = mintgate.sign_in("bob")
    recipes = []
    try:
        for name in names:
            recipe = Recipe(name, directory, mintgate.url, mintgate.client["secret"])
            build, most = RECIPES[name]
            begun = time.monotonic()
            recipes.append(recipe)
            build(recipe)
            took = time.monotonic() - begun
            print(f"{name}: started after {took:.0f} s, {recipe.lines} lines of code, at most {most}", flush=True)
            if recipe.lines > most:
                sys.exit(f"{name}: {recipe.lines} lines of code are more than {most}")
        # Not before: a token of the past has little time left.
        now = int(time.time())
        bad = {"no token": None, "garbage": "garbage", "a refresh token": refresh,
               "a foreign signature": mintgate.forge(alice, with_key=False),
               "no signature": mintgate.forge(alice, header={"alg": "none"}).rpartition(".")[0] + "."}
        for header in [{"typ": "rt+jwt"}, {"typ": "revocations+jwt"}, {"typ": "JWT"}, {"alg": "none"}, {"alg": "HS256"}]:
            bad[f"the header {header}"] = mintgate.forge(alice, header=header)
        for claims in [{"aud": "https://other.example.com"}, {"aud": []}, {"iss": "https://other.example.com"},
                       {"exp": now - LEEWAY - 1}, {"nbf": now + LEEWAY + 60}]:
            bad[f"the claims {claims}"] = mintgate.forge(alice, claims=claims)
        good = {"a user with the role": alice,
                "leeway at the end": mintgate.forge(alice, claims={"iat": now - 600, "nbf": now - 600, "exp": now - 5}),
                "leeway at the beginning": mintgate.forge(alice, claims={"iat": now + 20, "nbf": now + 20}),
                "several audiences": mintgate.forge(alice, claims={"aud": ["https://other.example.com", AUDIENCE]}),
                "a long typ": mintgate.forge(alice, header={"typ": "application/at+jwt"})}
        for recipe in recipes:
            recipe.expect("a user without the role", bob, 403)
            for what, token in good.items():
                recipe.expect(what, token, 200)
            for what, token in bad.items():
                recipe.expect(what, token, 401)
        mintgate.rotate()
        # The service loads the key that has taken over.
        end = time.monotonic() + 60
        kid = lambda token: token.split(".")[0]
        rotated, _ = mintgate.sign_in("alice")
        while kid(rotated) == kid(alice):
            assert time.monotonic() < end, "the key did not change"
            time.sleep(1)
            rotated, _ = mintgate.sign_in("alice")
        for recipe in recipes:
            recipe.expect("the first token after a rotation", rotated, 200)
            recipe.expect("a token from before the rotation", alice, 200)
        ends(mintgate, recipes)
        mintgate.stop("service")
        for recipe in recipes:
            recipe.stop()
            recipe.start(*recipe.command)
            recipe.expect("a start without Mintgate", alice, 503)
            print(f"{recipe.name}: ok", flush=True)
    finally:
        for recipe in recipes:
            recipe.stop()


def ends(mintgate, recipes):
    """Measures the time from the answer to `logout-all` to the first refusal, where the feed is followed; elsewhere, a token stays good."""
    following = [it for it in recipes if it.name in FOLLOWING]
    times = {it.name: [] for it in following}
    for _ in range(10):
        token, _ = mintgate.sign_in("alice")
        for recipe in recipes:
            recipe.expect("a token before the logout", token, 200)
        mintgate.log_out_everywhere(token)
        ended = time.monotonic()
        waiting = list(following)
        while waiting:
            for recipe in list(waiting):
                headers = {"Authorization": f"Bearer {token}"}
                status, after = call(f"http://127.0.0.1:{recipe.port}/admin", headers)[0], time.monotonic() - ended
                if status == 401:
                    waiting.remove(recipe)
                    times[recipe.name].append(after)
                elif after > 1:
                    sys.exit(f"{recipe.name}: {status} a second after the logout")
        for recipe in recipes:
            if recipe not in following:
                recipe.expect("an ended session, before its token expires", token, 200)
    for name, each in times.items():
        each = sorted(round(1000 * it) for it in each)
        print(f"{name}: refuses {each} ms after the logout", flush=True)


if __name__ == "__main__":
    main()
