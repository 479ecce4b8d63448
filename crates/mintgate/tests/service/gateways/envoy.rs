//! The shipped configuration of Envoy.

use std::process::{Command, Stdio};

use super::proxied::{Places, Scene, program};

const ENVOY: &str = include_str!("../../../../../deploy/gateways/envoy.yaml");

#[tokio::test]
async fn the_shipped_envoy_configuration_lets_nobody_in_who_is_not_signed_in() {
    let Some(envoy) = program("envoy") else { return };
    let scene = Scene::set(|Places { mintgate, app, front, dir }| {
        let port = |port: u16| format!("port_value: {port} }}");
        let text = ENVOY
            .replace("0.0.0.0", "127.0.0.1")
            .replace(&port(10000), &port(front.port()))
            .replace(&port(8080), &port(mintgate.port()))
            .replace(&port(3000), &port(app.port()));
        let file = dir.join("envoy.yaml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(envoy);
        command.arg("-c").arg(file).args(["--disable-hot-restart", "--concurrency", "1"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    })
    .await;
    scene.holds().await;
}
