//! Requests that meet in the database. A transaction of the test holds a row until each request waits in
//! its turn, so that every race has one order, and each order one outcome.

use serde_json::{Value, json};
use shared::http::auth::Role;
use testkit::{TestResponse, locks_are_awaited, within};
use tokio::task::JoinHandle;

use crate::support::{ANA, PASSWORD, Provider, ResponseExt as _, code_in, signup};

const NEW: &str = "another sentence";
const THIRD: &str = "yet another sentence";

const USER: &str = "select from identity.users for update";
const TOKEN: &str = "select from identity.refresh_tokens for update";
/// Lets a new token refer to the session, and not the session change.
const SESSION: &str = "select from identity.sessions for no key update";
const CODE: &str = "select from identity.codes for update";

type Request = (&'static str, Value);

fn log_in(password: &str) -> Request {
    ("/v1/auth/login", json!({"email": ANA, "password": password}))
}

fn reset(code: &str, password: &str) -> Request {
    ("/v1/auth/password/reset", json!({"email": ANA, "code": code, "password": password}))
}

fn activate(code: &str) -> Request {
    ("/v1/auth/activate", json!({"email": ANA, "code": code}))
}

fn sign_up(password: &str) -> Request {
    ("/v1/auth/signup", signup(ANA, password))
}

fn refresh(token: &str) -> Request {
    ("/v1/auth/refresh", json!({"refresh_token": token}))
}

fn log_out(token: &str) -> Request {
    ("/v1/auth/logout", json!({"refresh_token": token}))
}

/// A row that the test holds, and the requests that wait for it.
struct Race<'a> {
    provider: &'a Provider,
    held: sqlx::Transaction<'static, sqlx::Postgres>,
    waiting: Vec<JoinHandle<TestResponse>>,
}

impl<'a> Race<'a> {
    async fn hold(provider: &'a Provider, lock: &'static str) -> Self {
        let mut held = provider.database.pool.begin().await.unwrap();
        sqlx::query(lock).execute(&mut *held).await.unwrap();
        Self { provider, held, waiting: Vec::new() }
    }

    /// Begins a request and waits until it waits for a lock, behind those that began before.
    async fn queue(&mut self, (path, body): Request) {
        self.waiting.push(self.provider.begin(path, body));
        let waiting = self.waiting.len().try_into().unwrap();
        locks_are_awaited(&self.provider.database.pool, waiting).await;
    }

    /// Lets the requests go on, and returns their responses in the order in which they began.
    async fn release(self) -> Vec<TestResponse> {
        self.held.rollback().await.unwrap();
        let mut responses = Vec::new();
        for request in self.waiting {
            responses.push(within("a request", request).await.unwrap());
        }
        responses
    }
}

/// The responses to requests that wait for one lock, one behind the other.
async fn race(
    provider: &Provider,
    lock: &'static str,
    requests: impl IntoIterator<Item = Request>,
) -> Vec<TestResponse> {
    let mut race = Race::hold(provider, lock).await;
    for request in requests {
        race.queue(request).await;
    }
    race.release().await
}

/// The status and, of a problem, the code.
fn outcome(response: &TestResponse) -> (u16, &str) {
    let code = if response.status.is_success() { "" } else { response.code() };
    (response.status.as_u16(), code)
}

fn outcomes(responses: &[TestResponse]) -> Vec<(u16, &str)> {
    responses.iter().map(outcome).collect()
}

/// Sessions that go on, and those that have ended.
async fn sessions(provider: &Provider) -> (i64, i64) {
    sqlx::query_as(
        "select count(*) filter (where revoked_at is null), count(revoked_at)
         from identity.sessions",
    )
    .fetch_one(&provider.database.pool)
    .await
    .unwrap()
}

/// Attempts of Ana that are counted for an action.
async fn attempts(provider: &Provider, action: &str) -> i32 {
    let statement = "select coalesce(sum(made), 0)::int from identity.attempts
                     where action = $1 and email = $2";
    let counted = sqlx::query_scalar(statement).bind(action).bind(ANA);
    counted.fetch_one(&provider.database.pool).await.unwrap()
}

/// The one of these passwords that Ana can log in with.
async fn assert_password(provider: &Provider, right: &str) {
    for password in [PASSWORD, NEW, THIRD] {
        let status = if password == right { 200 } else { 401 };
        provider.log_in(ANA, password).await.expect(status);
    }
}

const INVALID_CODE: (u16, &str) = (422, "invalid_code");
const INVALID_TOKEN: (u16, &str) = (401, "invalid_refresh_token");

async fn reset_code(provider: &mut Provider) -> String {
    provider.forget_password(ANA).await.expect(202);
    provider.code(ANA).await
}

#[tokio::test]
async fn log_in_before_a_reset_gets_a_session_that_it_ends() {
    let mut provider = Provider::with_ana().await;
    let code = reset_code(&mut provider).await;
    let requests = [log_in(PASSWORD), reset(&code, NEW)];
    let responses = race(&provider, USER, requests).await;
    assert_eq!(outcomes(&responses), [(200, ""), (204, "")]);
    assert_eq!(sessions(&provider).await, (0, 1));
    let next = provider.refresh(&responses[0].member("refresh_token")).await;
    assert_eq!(outcome(&next), INVALID_TOKEN);
    assert_password(&provider, NEW).await;
}

#[tokio::test]
async fn log_in_that_loses_to_a_reset_gets_no_session() {
    let mut provider = Provider::with_ana().await;
    let code = reset_code(&mut provider).await;
    // The log-ins have verified the old password before the new one is set.
    let requests = [reset(&code, NEW), log_in(PASSWORD), log_in(PASSWORD)];
    let responses = race(&provider, USER, requests).await;
    let refused = (401, "invalid_credentials");
    assert_eq!(outcomes(&responses), [(204, ""), refused, refused]);
    assert_eq!(sessions(&provider).await, (0, 0));
    assert_eq!(provider.count("refresh_tokens").await, 0);
    // The password was right when the client sent it, so it does not count as a guess.
    assert_eq!(attempts(&provider, "login").await, 0);
    assert_password(&provider, NEW).await;
}

#[tokio::test]
async fn first_of_three_resets_with_one_code_sets_the_password() {
    let mut provider = Provider::with_ana().await;
    let code = reset_code(&mut provider).await;
    let requests = [reset(&code, NEW), reset(&code, THIRD), reset(&code, PASSWORD)];
    let responses = race(&provider, USER, requests).await;
    assert_eq!(outcomes(&responses), [(204, ""), INVALID_CODE, INVALID_CODE]);
    // A success clears the count; those that lost are counted.
    assert_eq!(attempts(&provider, "code").await, 2);
    assert_eq!(provider.count("codes").await, 0);
    assert_password(&provider, NEW).await;
}

#[tokio::test]
async fn reset_that_loses_to_a_newer_code_changes_nothing() {
    let mut provider = Provider::with_ana().await;
    let session = provider.refresh_token().await;
    let older = reset_code(&mut provider).await;
    let mut race = Race::hold(&provider, USER).await;
    // The response does not wait for the code.
    let forgotten = provider.forget_password(ANA);
    within("a response that waits for no mail", forgotten).await.expect(202);
    locks_are_awaited(&provider.database.pool, 1).await;
    race.waiting.push(provider.begin("/v1/auth/password/reset", reset(&older, NEW).1));
    locks_are_awaited(&provider.database.pool, 2).await;
    let responses = race.release().await;
    let newer = provider.code(ANA).await;
    if newer == older {
        // One in a million: the newer code is the same.
        return;
    }
    assert_eq!(outcomes(&responses), [INVALID_CODE]);
    assert_eq!(sessions(&provider).await, (1, 0));
    provider.refresh(&session).await.expect(200);
    provider.log_in(ANA, PASSWORD).await.expect(200);
    provider.reset_password(ANA, &newer, NEW).await.expect(204);
    assert_password(&provider, NEW).await;
}

#[tokio::test]
async fn first_of_three_activations_of_a_claim_uses_its_code() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let requests = [activate(&code), activate(&code), activate(&code)];
    let responses = race(&provider, USER, requests).await;
    assert_eq!(outcomes(&responses), [(204, ""), INVALID_CODE, INVALID_CODE]);
    assert_eq!((attempts(&provider, "code").await, provider.count("codes").await), (2, 0));
    assert_password(&provider, PASSWORD).await;
}

#[tokio::test]
async fn activation_that_loses_to_a_signup_activates_nothing() {
    let mut provider = Provider::start().await;
    let older = provider.sign_up(ANA, PASSWORD).await;
    let responses = race(&provider, USER, [sign_up(NEW), activate(&older)]).await;
    let newer = provider.code(ANA).await;
    if newer == older {
        return;
    }
    assert_eq!(outcomes(&responses), [(202, ""), INVALID_CODE]);
    assert_eq!(provider.app.find_user(ANA).await.unwrap(), None);
    provider.activate(ANA, &newer).await.expect(204);
    assert_password(&provider, NEW).await;
}

#[tokio::test]
async fn signup_that_loses_to_an_activation_changes_nothing() {
    let mut provider = Provider::start().await;
    let code = provider.sign_up(ANA, PASSWORD).await;
    let responses = race(&provider, USER, [activate(&code), sign_up(NEW)]).await;
    assert_eq!(outcomes(&responses), [(204, ""), (202, "")]);
    let mail = provider.mail(ANA).await;
    assert!(mail.contains("attempt to sign up"), "{mail}");
    assert_eq!((provider.count("users").await, provider.count("codes").await), (1, 0));
    assert_password(&provider, PASSWORD).await;
}

#[tokio::test]
async fn later_of_two_signups_with_an_address_owns_the_claim() {
    let mut provider = Provider::start().await;
    // A claim of the address that never commits.
    let claim = "insert into identity.users (id, email, name, password_hash, roles, created_at)
                 values (gen_random_uuid(), 'ana@example.com', 'Ana', '', '{seller}', now())";
    let mut buyer = sign_up(NEW);
    buyer.1["role"] = json!("buyer");
    let responses = race(&provider, claim, [sign_up(PASSWORD), buyer]).await;
    assert_eq!(outcomes(&responses), [(202, ""); 2]);
    assert_eq!((provider.count("users").await, provider.count("codes").await), (1, 1));
    assert_eq!(attempts(&provider, "mail").await, 2);
    let mut mails = provider.mails(ANA, 2).await;
    mails.sort_by_key(|mail| mail.contains("It was not the first sign-up"));
    let codes: Vec<String> = mails.iter().map(|mail| code_in(mail)).collect();
    if codes[0] != codes[1] {
        assert_eq!(outcome(&provider.activate(ANA, &codes[0]).await), INVALID_CODE);
    }
    provider.activate(ANA, &codes[1]).await.expect(204);
    assert_password(&provider, NEW).await;
    let roles = provider.app.find_user(ANA).await.unwrap().unwrap().roles;
    assert_eq!(roles, [Role::Buyer].into());
}

#[tokio::test]
async fn second_use_of_a_token_ends_the_session_of_the_first() {
    let provider = Provider::with_ana().await;
    let other = provider.refresh_token().await;
    let token = provider.refresh_token().await;
    let responses =
        race(&provider, TOKEN, [refresh(&token), refresh(&token), refresh(&token)]).await;
    assert_eq!(outcomes(&responses), [(200, ""), INVALID_TOKEN, INVALID_TOKEN]);
    assert_eq!(sessions(&provider).await, (1, 1));
    // The first of each session, and the one that the winner got.
    assert_eq!(provider.count("refresh_tokens").await, 3);
    let next = provider.refresh(&responses[0].member("refresh_token")).await;
    assert_eq!(outcome(&next), INVALID_TOKEN);
    provider.refresh(&other).await.expect(200);
}

#[tokio::test]
async fn refresh_before_a_log_out_gets_tokens_of_an_ended_session() {
    let provider = Provider::with_ana().await;
    let token = provider.refresh_token().await;
    let mut race = Race::hold(&provider, SESSION).await;
    race.queue(log_out(&token)).await;
    let refreshed = within("the refresh", provider.refresh(&token)).await.expect(200);
    assert_eq!(outcomes(&race.release().await), [(204, "")]);
    assert_eq!(sessions(&provider).await, (0, 1));
    let next = provider.refresh(&refreshed.member("refresh_token")).await;
    assert_eq!(outcome(&next), INVALID_TOKEN);
}

#[tokio::test]
async fn refresh_during_the_end_of_its_session_does_not_renew_it() {
    for by_reset in [false, true] {
        let mut provider = Provider::with_ana().await;
        let token = provider.refresh_token().await;
        let code = reset_code(&mut provider).await;
        let mut race = Race::hold(&provider, TOKEN).await;
        race.queue(refresh(&token)).await;
        if by_reset {
            within("the reset", provider.reset_password(ANA, &code, NEW)).await.expect(204);
        } else {
            within("the log-out", provider.log_out(&token)).await.expect(204);
        }
        let refreshed = race.release().await.remove(0);
        // The exchange may have read the session before its end; its token is of no use either way.
        if refreshed.status == 200 {
            let next = provider.refresh(&refreshed.member("refresh_token")).await;
            assert_eq!(outcome(&next), INVALID_TOKEN);
        } else {
            assert_eq!(outcome(&refreshed), INVALID_TOKEN);
        }
        assert_eq!(sessions(&provider).await, (0, 1));
    }
}

#[tokio::test]
async fn deletion_of_expired_rows_spares_a_claim_that_is_renewed() {
    let mut provider = Provider::start().await;
    provider.sign_up(ANA, PASSWORD).await;
    // The claim and its code have expired, and neither is deleted yet.
    provider.wait_days(8);
    let mut race = Race::hold(&provider, CODE).await;
    race.queue(sign_up(NEW)).await;
    let progress = within("the deletion", identity::delete_expired::once(&provider.app)).await;
    progress.unwrap();
    assert_eq!(outcomes(&race.release().await), [(202, "")]);
    let code = provider.code(ANA).await;
    provider.activate(ANA, &code).await.expect(204);
    assert_password(&provider, NEW).await;
}

#[tokio::test]
async fn deletion_of_expired_rows_spares_a_session_in_exchange() {
    let provider = Provider::with_ana().await;
    let expired = provider.refresh_token().await;
    let first = provider.refresh_token().await;
    provider.wait_days(29);
    let second = provider.refresh(&first).await.expect(200).member("refresh_token");
    // The first token of both sessions has expired; that of one was exchanged.
    provider.wait_days(2);
    let mut race = Race::hold(&provider, TOKEN).await;
    race.queue(refresh(&second)).await;
    within("the deletion", identity::delete_expired::once(&provider.app)).await.unwrap();
    // Held rows are left for the next time.
    assert_eq!(provider.count("refresh_tokens").await, 3);
    let responses = race.release().await;
    assert_eq!(outcomes(&responses), [(200, "")]);
    identity::delete_expired::once(&provider.app).await.unwrap();
    assert_eq!((provider.count("sessions").await, provider.count("refresh_tokens").await), (1, 2));
    assert_eq!(outcome(&provider.refresh(&expired).await), INVALID_TOKEN);
    provider.refresh(&responses[0].member("refresh_token")).await.expect(200);
}
