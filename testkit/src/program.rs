//! Runs the binary of a service, as a container would.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::eventually;

/// A running program. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    pub url: String,
    child: Child,
}

impl Program {
    /// Starts the program at `path` with only these settings, and waits until it responds.
    pub async fn start(path: &str, settings: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(path)
            .env_clear()
            .env("VITRINA_BIND", "127.0.0.1")
            .env("PORT", port.to_string())
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut program = Self { url: format!("http://127.0.0.1:{port}"), child };
        eventually("the program responds", async || {
            assert!(program.child.try_wait().unwrap().is_none(), "{path} exited at once");
            program.get("/healthz").await
        })
        .await;
        program
    }

    /// Status and body of a path; `None` if the server does not respond.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let response = reqwest::get(format!("{}{path}", self.url)).await.ok()?;
        Some((response.status().as_u16(), response.text().await.unwrap()))
    }

    /// Sends SIGTERM, and returns the exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = async || self.child.try_wait().unwrap();
        eventually("the end of the program", ended).await.code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
