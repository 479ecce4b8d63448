//! The shipped configuration of Caddy.

use std::process::{Command, Stdio};

use super::proxied::{Places, Scene, program};

const CADDYFILE: &str = include_str!("../../../../../deploy/gateways/Caddyfile");

#[tokio::test]
async fn the_shipped_caddyfile_lets_nobody_in_who_is_not_signed_in() {
    let Some(caddy) = program("caddy") else { return };
    let scene = Scene::set(|Places { mintgate, app, front, dir }| {
        let text = CADDYFILE
            .replace("127.0.0.1:8080", &mintgate.to_string())
            .replace("127.0.0.1:3000", &app.to_string())
            .replace("app.example.com {", &format!("http://{front} {{"));
        let text = format!("{{\n\tadmin off\n\tauto_https off\n}}\n{text}");
        let file = dir.join("Caddyfile");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(caddy);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        command.env("HOME", dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    })
    .await;
    scene.holds().await;
}
