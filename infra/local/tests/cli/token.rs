//! On whose behalf commands act, whatever strangers do.

use serde_json::json;

use crate::World;

impl World {
    /// What the answer to a log-in of the operator is.
    async fn log_in(&self, password: &str) -> u16 {
        let login = json!({"email": "operator@demo.vitrina.example", "password": password});
        let url = format!("{}/v1/auth/login", self.edition.url);
        let answer = reqwest::Client::new().post(url).json(&login).send().await.unwrap();
        answer.status().as_u16()
    }

    /// What the answer to a request with the operator's token is.
    async fn ask_as_operator(&self) -> u16 {
        let token = self.run(&["token", "operator"]).await.expect(0).stdout;
        let url = format!("{}/v1/admin/outbox", self.edition.url);
        let request = reqwest::Client::new().get(url).bearer_auth(token.trim());
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_of_strangers_keep_no_command_from_its_work() {
    let world = World::start().await;
    for _ in 0..10 {
        assert_eq!(world.log_in("a stranger's guess").await, 401);
    }
    let password = std::fs::read_to_string(world.data.path().join("demo-password")).unwrap();
    assert_eq!(world.log_in(&password).await, 429);

    world.run(&["status"]).await.expect(0);
    world.run(&["dlq", "list"]).await.expect(0);
    world.run(&["sync"]).await.expect(0);
    assert_eq!(world.ask_as_operator().await, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_log_in_commands_act_all_the_same_and_more_sellers_are_refused() {
    let world = World::start_with("inventory,relay,catalog,projector,sync".parse().unwrap()).await;
    assert_eq!(world.log_in("whatever it is").await, 404);
    world.run(&["status"]).await.expect(0);
    world.run(&["seed", "--products", "20"]).await.expect(0);
    world.catalogue(20).await;
    let ended = world.run(&["seed", "--products", "20", "--sellers", "2"]).await.expect(1);
    assert!(ended.stderr.contains("does not run `identity`"), "{ended:#?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_of_the_folder_nobody_acts_and_none_is_made() {
    let world = World::start().await;
    let key = world.data.path().join("identity.pk8");
    std::fs::remove_file(&key).unwrap();
    let ended = world.run(&["token", "operator"]).await.expect(1);
    assert!(ended.stderr.contains("there is no signing key"), "{ended:#?}");
    assert!(!key.exists());
    world.stop().await;
}
