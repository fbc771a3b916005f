//! Secrets are found in all the forms in which they stand in texts.

use glasshouse_model::settings::Redaction;

use super::{check, redactor};
use crate::redact::Redactor;

fn with(change: impl FnOnce(&mut Redaction)) -> Redactor {
    let mut settings = Redaction::default();
    change(&mut settings);
    Redactor::new(&settings).expect("good settings")
}

#[test]
fn values_are_found_by_their_names() {
    let redactor = redactor();
    for (input, expect) in [
        ("password=hunter2", "password=~"),
        ("login of ada, Password: hunter2, ok", "login of ada, Password: ~, ok"),
        ("user.password_hash = 'a b c' done", "user.password_hash = '~' done"),
        (r#"{"user":"ada","password":"hun\"ter2","n":1}"#, r#"{"user":"ada","password":"~","n":1}"#),
        (r#"{"pin": 1234, "ok": true}"#, r#"{"pin": "~", "ok": true}"#),
        (r#"body="{\"apiKey\": \"s3cret\", \"a\": 1}""#, r#"body="{\"apiKey\": \"~\", \"a\": 1}""#),
        (r#"{\"pin\":1234}"#, r#"{\"pin\":\"~\"}"#),
        (r#""{\\\"token\\\":\\\"abc\\\"}""#, r#""{\\\"token\\\":\\\"~\\\"}""#),
        (r#"{"secrets": ["a", {"b": "]"}], "c": 1}"#, r#"{"secrets": "~", "c": 1}"#),
        (r#"Credentials { user: "ada", password: Some("hunter2") }"#, r#"Credentials { user: "ada", password: ~ }"#),
        ("GET /login?token=abc123&next=/home", "GET /login?token=~&next=/home"),
        ("q=a%26token%3Dabc%26b", "q=a%26token%3D~"),
        ("user[password]=hunter2&x=1", "user[password]=~&x=1"),
        ("--password hunter2 --user ada", "--password ~ --user ada"),
        ("<password>hunter2</password>", "<password>~</password>"),
        ("api key: abc123", "api key: ~"),
        ("Card number 4111: card number: 12", "Card number 4111: card number: ~"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=~ psql"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=~"),
        (r"first\npassword=hunter2", r"first\npassword=~"),
        (r#"headers[("x-api-key", "abc"), ("host", "a")]"#, r#"headers[("x-api-key", "~"), ("host", "a")]"#),
        (r#"{"name":"X-Api-Key","value":"abc"}"#, r#"{"name":"X-Api-Key","value":"~"}"#),
        ("password='cut off in the mid", "password='~"),
        ("password=b\"bytes\"", "password=b\"~\""),
        ("JSESSIONID=1A2B; path=/", "JSESSIONID=~; path=/"),
        ("panicked: called `unwrap()` on Err: bad secret: s3cr3t", "panicked: called `unwrap()` on Err: bad secret: ~"),
    ] {
        check(&redactor, input, expect);
    }
}

#[test]
fn headers_are_hidden_to_the_end_of_their_line() {
    let redactor = redactor();
    for (input, expect) in [
        ("Authorization: Bearer abc.def\r\nHost: a", "Authorization: ~\r\nHost: a"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: ~"),
        (r"GET /\r\nCookie: a=b; c=d\r\nHost: x", r"GET /\r\nCookie: ~\r\nHost: x"),
        (r#"curl -H "Proxy-Authorization: Digest a=b, c=d" x"#, r#"curl -H "Proxy-Authorization: ~" x"#),
        ("sent Bearer abcdef0123456789 to it", "sent Bearer ~ to it"),
        ("sent Basic dXNlcjpwYXNz to it", "sent Basic ~ to it"),
    ] {
        check(&redactor, input, expect);
    }
}

#[test]
fn tokens_are_found_by_their_shape() {
    let redactor = redactor();
    let hidden = "R4nd0mCh4r4cters";
    for token in [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U".to_owned(),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        format!("ghp_{hidden}{hidden}"),
        format!("github_pat_{hidden}_{hidden}"),
        format!("glpat-{hidden}abcd"),
        format!("xoxb-123456789012-{hidden}"),
        format!("sk_live_{hidden}"),
        format!("AIza{hidden}{hidden}"),
        format!("sk-proj-{hidden}{hidden}"),
        format!("sk-ant-api03-{hidden}{hidden}"),
        format!("hf_{hidden}{hidden}"),
        format!("SG.{hidden}abcdef.{hidden}{hidden}"),
    ] {
        check(&redactor, &format!("using {token}, which failed"), "using ~, which failed");
        check(&redactor, &format!("(\"{token}\")"), "(\"~\")");
    }
    for end in ["\\n", "\\r\\n", "\\t", "\\\\n"] {
        check(&redactor, &format!("\"a{end}sk_live_{hidden}\""), &format!("\"a{end}~\""));
        check(&redactor, &format!("\"a{end}4111111111111111\""), &format!("\"a{end}~\""));
    }
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAb+/=\n-----END RSA PRIVATE KEY-----";
    check(&redactor, &format!("key:\n{key}\nand on"), "key:\n~\nand on");
    check(&redactor, &key[..50], "~");
    check(&redactor, &key.replace('\n', "\\n"), "~");
    let pgp = key.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK");
    check(&redactor, &format!("key:\n{pgp}\nand on"), "key:\n~\nand on");
    check(&redactor, "-----BEGIN PGP PRIVATE KEY BLOCK-----", "~");
}

#[test]
fn cards_are_found_by_their_digits() {
    let redactor = redactor();
    for card in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "378282246310005",
        "3782 822463 10005",
        "5555555555554444",
        "6011111111111117",
        "4222222222222",
    ] {
        check(&redactor, &format!("paid with {card}."), "paid with ~.");
        check(&redactor, &format!("12 {card}, 3"), "12 ~, 3");
    }
}

#[test]
fn urls_lose_their_password_only() {
    let redactor = redactor();
    check(&redactor, "postgres://app:s3cr3t@db:5432/x failed", "postgres://app:~@db:5432/x failed");
    check(&redactor, "\"redis://:s3cr3t@cache\"", "\"redis://:~@cache\"");
    check(&redactor, "amqp://u:p/w@host/v", "amqp://u:~@host/v");
}

#[test]
fn sql_loses_its_secrets() {
    let redactor = redactor();
    for (input, expect) in [
        ("UPDATE users SET password = 'it''s', n = 1", "UPDATE users SET password = '~', n = 1"),
        ("CREATE USER a IDENTIFIED BY 'x1'", "CREATE USER a IDENTIFIED BY '~'"),
        ("ALTER USER a IDENTIFIED WITH sha2 BY 'x1' x", "ALTER USER a IDENTIFIED WITH sha2 BY '~' x"),
        ("ALTER ROLE a WITH PASSWORD 'x1'", "ALTER ROLE a WITH PASSWORD '~'"),
        ("SET PASSWORD FOR 'a'@'h' = 'x1'", "SET PASSWORD FOR 'a'@'h' = '~'"),
        ("SET PASSWORD = PASSWORD('x1')", "SET PASSWORD = ~"),
        (
            "INSERT INTO users (name, password, age) VALUES ('a, b', 'x1', 3), ('c', 'it''s', 4)",
            "INSERT INTO users (name, password, age) VALUES ('a, b', '~', 3), ('c', '~', 4)",
        ),
        ("insert into \"t\" (\"pin\", b) values (12, 'x')", "insert into \"t\" (\"pin\", b) values (~, 'x')"),
    ] {
        check(&redactor, input, expect);
    }
}

#[test]
fn settings_add_names_and_patterns_and_keep_others() {
    let redactor = with(|settings| {
        settings.email = true;
        settings.fields = vec!["patient_no".to_owned()];
        settings.patterns = vec!["acct-[0-9]{4}".to_owned(), "[0-9]{3}-badge".to_owned()];
        settings.keep_fields = vec!["token".to_owned()];
    });
    check(&redactor, "mail ada.b+c@example.co.uk, ok", "mail ~, ok");
    check(&redactor, "patientNo=77 token=abc auth_token=abc", "patientNo=~ token=abc auth_token=~");
    check(&redactor, "of acct-1234 and 123-badge", "of ~ and ~");
    let off = with(|settings| settings.enabled = false);
    check(&off, "password=hunter2", "password=hunter2");
    let bad = Redaction { patterns: vec!["a[".to_owned()], ..Redaction::default() };
    let error = Redactor::new(&bad).expect_err("a bad pattern").to_string();
    assert_eq!(error, "redaction.patterns: the pattern \"a[\" is refused: unclosed character class");
}
