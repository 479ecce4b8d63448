//! The shipped configuration of nginx.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::proxied::{Places, Scene, program};
use super::*;

const NGINX: &str = include_str!("../../../../../deploy/gateways/nginx.conf");
const CHECK_FILE: &str = include_str!("../../../../../deploy/gateways/mintgate-check.conf");

/// The files, with a cache if they are to have one.
async fn scene(caches: bool) -> Option<Scene> {
    let nginx = program("nginx")?;
    let scene = Scene::set(|Places { mintgate, app, front, dir }| {
        let path = |name: &str| dir.join(name).display().to_string();
        let own = |text: &str| {
            let text = text
                .replace("127.0.0.1:8080", &mintgate.to_string())
                .replace("127.0.0.1:3000", &app.to_string())
                .replace("listen 80;", &format!("listen {front};"))
                .replace("/var/cache/nginx/mintgate", &path("cache"));
            if caches { text.replace("#cache ", "") } else { text }
        };
        std::fs::write(dir.join("gateway.conf"), own(NGINX)).unwrap();
        std::fs::write(dir.join("mintgate-check.conf"), own(CHECK_FILE)).unwrap();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};", path(name)));
        let whole = format!(
            "daemon off; master_process off; pid {}; error_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{}\ninclude gateway.conf;\n}}\n",
            path("pid"),
            temporary.join("\n"),
        );
        std::fs::write(dir.join("nginx.conf"), whole).unwrap();
        let mut command = Command::new(nginx);
        command.arg("-c").arg(dir.join("nginx.conf")).args(["-e", "stderr"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    });
    Some(scene.await)
}

#[tokio::test]
async fn the_shipped_nginx_configuration_lets_nobody_in_who_is_not_signed_in() {
    let Some(scene) = scene(false).await else { return };
    scene.holds().await;
}

#[tokio::test]
async fn the_shipped_cache_of_nginx_shows_nobody_what_is_anothers() {
    let Some(scene) = scene(true).await else { return };
    scene.holds().await;
    let [alice, bob] = ["alice", "bob"].map(|name| scene.service.signed_in_as(name));
    let (alice, bob) = (alice.await.access, bob.await.access);
    let user = |access: &str| claims(access)["sub"].as_str().unwrap().to_owned();
    let questions = || async {
        let metrics = scene.service.metrics().await;
        let of_check = metrics.lines().filter(|line| {
            line.starts_with("mintgate_http_requests_total")
                && line.contains("\"/api/v1/auth/check\"")
        });
        let counts = of_check.filter_map(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
        counts.sum::<u32>()
    };
    let before = questions().await;
    for _ in 0..20 {
        for access in [&alice, &bob] {
            let (status, seen) = scene.get("/orders", access).await;
            assert_eq!(status, 200);
            assert!(seen.contains(&format!("X-Auth-User: {}", user(access))), "{seen}");
        }
        assert_eq!(scene.get("/orders", "").await.0, 401);
        assert_eq!(scene.get("/orders", "garbage").await.0, 401);
        // What is known of another question is not the answer to this one.
        assert_eq!(scene.get("/admin/a", &bob).await.0, 403);
        assert_eq!(scene.get("/admin/a", &alice).await.0, 200);
    }
    // Of 120 requests, 60 are refused and asked about each time.
    let asked = questions().await - before;
    assert!((60..110).contains(&asked), "{asked}");
    // The refusal is not kept, and the logout is seen soon.
    scene.service.log_out(&alice).send().await.unwrap();
    for _ in 0..100 {
        if scene.get("/orders", &alice).await.0 == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the logout is never seen");
}
