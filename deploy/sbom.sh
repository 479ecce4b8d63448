#!/bin/sh
# Lists what the program consists of, as CycloneDX 1.5: the crates, and the C libraries that are compiled into it.
# It needs cargo, and the sources that cargo has fetched for the build.
set -eu
cd "$(dirname "$0")/.."

# "name version licence" a line, with tabs: what is linked, and what builds it.
crates=$(cargo tree --locked --offline --package mintgate --no-default-features --prefix none --no-dedupe \
    --edges normal,build --format '{p}	{l}' | sed 's/ ([^)]*)//g; s/ v/	/' | LC_ALL=C sort -u)
version_of() { echo "$crates" | awk -F '\t' -v name="$1" '$1 == name { print $2 }'; }

openssl=$(version_of openssl-src | sed 's/.*+//')
header=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" \
    -path "*/libsqlite3-sys-$(version_of libsqlite3-sys)/sqlite3/sqlite3.h")
sqlite=$(sed -n 's/^#define SQLITE_VERSION  *"\(.*\)"/\1/p' "$header")
[ -n "$openssl" ] && [ -n "$sqlite" ] || { echo "sbom: no version of OpenSSL or SQLite is found" >&2; exit 1; }

cat <<HEAD
{
  "bomFormat": "CycloneDX",
  "specVersion": "1.5",
  "version": 1,
  "metadata": {
    "component": {"type":"application","bom-ref":"mintgate","name":"mintgate","version":"$(version_of mintgate)"}
  },
  "components": [
    {"type":"library","bom-ref":"c-openssl","name":"openssl","version":"$openssl","cpe":"cpe:2.3:a:openssl:openssl:$openssl:*:*:*:*:*:*:*","purl":"pkg:generic/openssl@$openssl"},
    {"type":"library","bom-ref":"c-sqlite","name":"sqlite","version":"$sqlite","cpe":"cpe:2.3:a:sqlite:sqlite:$sqlite:*:*:*:*:*:*:*","purl":"pkg:generic/sqlite@$sqlite"},
HEAD
echo "$crates" | awk -F '\t' '
    $1 == "mintgate" { next }
    {
        licence = $3 == "" ? "" : ",\"licenses\":[{\"expression\":\"" $3 "\"}]"
        gsub("/", " OR ", licence)
        package = "pkg:cargo/" $1 "@" $2
        gsub(/\+/, "%2B", package)
        printf "%s    {\"type\":\"library\",\"bom-ref\":\"%s\",\"name\":\"%s\",\"version\":\"%s\",\"purl\":\"%s\"%s}", \
            separator, package, $1, $2, package, licence
        separator = ",\n"
    }'
printf '\n  ]\n}\n'
