//! The shipped configuration of Traefik.

use std::process::{Command, Stdio};

use super::proxied::{Places, Scene, program};

const TRAEFIK: &str = include_str!("../../../../../deploy/gateways/traefik.yaml");

#[tokio::test]
async fn the_shipped_traefik_configuration_lets_nobody_in_who_is_not_signed_in() {
    let Some(traefik) = program("traefik") else { return };
    let scene = Scene::set(|Places { mintgate, app, front, dir }| {
        let text = TRAEFIK
            .replace("127.0.0.1:8080", &mintgate.to_string())
            .replace("127.0.0.1:3000", &app.to_string())
            .replace("app.example.com", "127.0.0.1");
        // Not `traefik.yaml`, which Traefik takes for its own options where it finds it.
        let file = dir.join("routes.yaml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(traefik);
        command.arg(format!("--entrypoints.web.address={front}"));
        command.arg(format!("--providers.file.filename={}", file.display()));
        command.args(["--global.checknewversion=false", "--global.sendanonymoususage=false"]);
        command.current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    })
    .await;
    scene.holds().await;
}
