//! SCRAM against the examples of its RFCs, against a server that checks the proof, and against servers that mean no good.

mod server;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use self::server::{Server, State as ServerState};
use super::*;
use crate::client::{Client, Mechanism};

/// A client that has said its first message, with this very nonce.
fn client(hash: Hash, username: &str, password: &str, nonce: &str) -> (Client, String) {
    let credentials = Credentials::new(username, password).unwrap();
    let (initial, state) = Scram::start(hash, credentials, nonce.to_owned()).unwrap();
    let mechanism = match hash {
        Hash::Sha1 => Mechanism::ScramSha1,
        Hash::Sha256 => Mechanism::ScramSha256,
    };
    let mut client = Client { mechanism, initial, state };
    let first = said(&client.initial(usize::MAX).unwrap());
    (client, first)
}

fn said(response: &Response) -> String {
    String::from_utf8(response.as_octets().to_vec()).unwrap()
}

/// The client of the examples, when the server has said `challenge`.
fn answer(challenge: &str) -> Result<String, ExchangeError> {
    let (mut client, _) = client(Hash::Sha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
    client.respond(challenge.as_bytes()).map(|response| said(&response))
}

const FIRST: &str = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
const PROOF: &str = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
const SIGNATURE: &str = "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=";

#[test]
fn the_exchange_of_rfc_5802_is_spoken_word_for_word() {
    let (mut client, first) = client(Hash::Sha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(first, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(said(&client.respond(FIRST.as_bytes()).unwrap()), PROOF);
    assert_eq!(said(&client.respond(SIGNATURE.as_bytes()).unwrap()), "");
    assert_eq!(client.finish(None), Ok(()));
}

#[test]
fn the_exchange_of_rfc_7677_is_spoken_word_for_word() {
    let (mut client, first) = client(Hash::Sha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
    assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let challenge = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    assert_eq!(
        said(&client.respond(challenge.as_bytes()).unwrap()),
        format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    );
    let signature = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    assert_eq!(said(&client.respond(signature).unwrap()), "");
    assert_eq!(client.finish(None), Ok(()));
}

#[test]
fn the_signature_may_come_with_the_success() {
    let signed = |data: Option<&[u8]>| {
        let (mut client, _) = client(Hash::Sha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
        client.respond(FIRST.as_bytes()).unwrap();
        client.finish(data)
    };
    assert_eq!(signed(Some(SIGNATURE.as_bytes())), Ok(()));
    assert_eq!(signed(Some(b"v=AAAApqV8S7suAoZWja4dJRkFsKQ=")), Err(ExchangeError::WrongSignature));
    assert_eq!(signed(Some(b"e=other-error")), Err(ExchangeError::Refused));
    assert_eq!(signed(Some(b"")), Err(ExchangeError::MalformedChallenge));
    assert_eq!(signed(None), Err(ExchangeError::Unfinished));
}

#[test]
fn a_server_that_does_not_prove_itself_is_not_believed() {
    let after_proof = |message: &[u8]| {
        let (mut client, _) = client(Hash::Sha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
        client.respond(FIRST.as_bytes()).unwrap();
        let error = client.respond(message).unwrap_err();
        // Nothing that comes after it makes it good again.
        assert_eq!(client.respond(SIGNATURE.as_bytes()).unwrap_err(), ExchangeError::Over);
        assert_eq!(client.finish(Some(SIGNATURE.as_bytes())), Err(ExchangeError::Over));
        error
    };
    for (message, error) in [
        ("v=AAAApqV8S7suAoZWja4dJRkFsKQ=", ExchangeError::WrongSignature),
        ("v=rmF9pqV8S7suAoZWja4dJRkFsA==", ExchangeError::WrongSignature), // one octet short
        ("v=", ExchangeError::WrongSignature),
        ("v=rmF9pqV8S7suAoZWja4dJRkFsKQ", ExchangeError::MalformedChallenge),
        ("", ExchangeError::MalformedChallenge),
        ("p=rmF9pqV8S7suAoZWja4dJRkFsKQ=", ExchangeError::MalformedChallenge),
        ("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=,", ExchangeError::MalformedChallenge),
        ("e=invalid-proof", ExchangeError::Refused),
        ("e=the password is pencil,v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", ExchangeError::Refused),
    ] {
        assert_eq!(after_proof(message.as_bytes()), error, "{message}");
    }
    assert_eq!(after_proof(b"v=\xff"), ExchangeError::MalformedChallenge);
}

#[test]
fn success_before_the_proof_is_none() {
    let (client, _) = client(Hash::Sha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(client.finish(Some(SIGNATURE.as_bytes())), Err(ExchangeError::Unfinished));
}

#[test]
fn a_challenge_after_the_signature_is_too_much() {
    let (mut client, _) = client(Hash::Sha1, "user", "pencil", "fyko+d2lbbFgONRv9qkxdawL");
    client.respond(FIRST.as_bytes()).unwrap();
    client.respond(SIGNATURE.as_bytes()).unwrap();
    assert_eq!(client.respond(SIGNATURE.as_bytes()).unwrap_err(), ExchangeError::UnexpectedChallenge);
    assert_eq!(client.finish(None), Err(ExchangeError::Over));
}

#[test]
fn the_nonce_must_continue_ours() {
    let rest = "s=QSXCR+Q6sek8bf92,i=4096";
    for nonce in [
        "fyko+d2lbbFgONRv9qkxdawL",                // nothing added
        "fyko+d2lbbFgONRv9qkxdaw",                 // shorter
        "",                                        // none
        "3rfcNHYJY1ZVvWVs7j",                      // another
        "Fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1",      // in another case
        "3rfcNHYJY1ZfVvWVsfyko+d2lbbFgONRv9qkxda", // ours behind
    ] {
        assert_eq!(answer(&format!("r={nonce},{rest}")), Err(ExchangeError::ForeignNonce), "{nonce}");
    }
    for nonce in ["fyko+d2lbbFgONRv9qkxdawL\u{7f}", "fyko+d2lbbFgONRv9qkxdawL x", "fyko+d2lbbFgONRv9qkxdawLé"]
    {
        assert_eq!(answer(&format!("r={nonce},{rest}")), Err(ExchangeError::MalformedChallenge), "{nonce}");
    }
}

#[test]
fn the_work_that_a_server_asks_for_has_bounds() {
    let started = Instant::now();
    for (iterations, error) in [
        ("1", ExchangeError::TooFewIterations),
        ("4095", ExchangeError::TooFewIterations),
        ("600001", ExchangeError::TooManyIterations),
        ("1000000000", ExchangeError::TooManyIterations),
        ("99999999999999999999999999", ExchangeError::TooManyIterations),
        ("0", ExchangeError::MalformedChallenge),
        ("04096", ExchangeError::MalformedChallenge),
        ("-4096", ExchangeError::MalformedChallenge),
        ("+4096", ExchangeError::MalformedChallenge),
        ("4096 ", ExchangeError::MalformedChallenge),
        ("", ExchangeError::MalformedChallenge),
    ] {
        let challenge = FIRST.replace("4096", iterations);
        assert_eq!(answer(&challenge), Err(error), "{iterations}");
    }
    // A thousand million would be minutes of work.
    assert!(started.elapsed() < Duration::from_secs(5));
    for iterations in [FEWEST_ITERATIONS, MOST_ITERATIONS] {
        assert!(answer(&FIRST.replace("4096", &iterations.to_string())).is_ok(), "{iterations}");
    }
}

#[test]
fn a_first_message_is_whole_and_in_order() {
    let nonce = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    for bad in [
        String::new(),
        nonce.into(),
        format!("{nonce},s=QSXCR+Q6sek8bf92"),
        format!("{nonce},i=4096,s=QSXCR+Q6sek8bf92"),
        format!("{nonce},s=,i=4096"),
        format!("{nonce},s=QSXCR+Q6sek8bf9,i=4096"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=4096,"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=4096,x"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=4096,x="),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=4096,1=x"),
        format!("x=1,{nonce},s=QSXCR+Q6sek8bf92,i=4096"),
        format!(" {nonce},s=QSXCR+Q6sek8bf92,i=4096"),
        "e=unknown-user".into(),
    ] {
        assert_eq!(answer(&bad), Err(ExchangeError::MalformedChallenge), "{bad}");
    }
    // RFC 5802 §5.1: an extension that must be understood fails the exchange, any other is passed over (and signed with the rest).
    assert_eq!(answer(&format!("m=x,{FIRST}")), Err(ExchangeError::UnknownExtension));
    let proof = answer(&format!("{FIRST},x=1,y=é=")).unwrap();
    assert!(proof.starts_with("c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=") && proof != PROOF);
}

#[test]
fn user_names_are_escaped_and_prepared() {
    let first = |username| client(Hash::Sha1, username, "x", "N").1;
    assert_eq!(first("a=b,c"), "n,,n=a=3Db=2Cc,r=N");
    assert_eq!(first("=2C"), "n,,n==3D2C,r=N");
    // RFC 4013 §3
    assert_eq!(first("I\u{ad}X"), "n,,n=IX,r=N");
    assert_eq!(first("\u{aa}"), "n,,n=a,r=N");
    assert_eq!(first("\u{2168}"), "n,,n=IX,r=N");
    assert_eq!(first("tim@\u{ff0c}"), "n,,n=tim@=2C,r=N"); // a comma only after it was prepared
}

#[test]
fn what_saslprep_prohibits_is_told_before_anything_is_sent() {
    let error = |username, password| {
        let credentials = Credentials::new(username, password).unwrap();
        Client::new(Mechanism::ScramSha256, credentials, [0; 18]).err()
    };
    // RFC 4013 §3
    assert_eq!(error("\u{7}", "x"), Some(CredentialsError::Prohibited(Half::Username)));
    assert_eq!(error("x", "\u{627}1"), Some(CredentialsError::Prohibited(Half::Password)));
    assert_eq!(error("x", "\u{ad}"), Some(CredentialsError::Empty(Half::Password)));
    assert_eq!(error("\u{ad}", "x"), Some(CredentialsError::Empty(Half::Username)));
}

/// What comes of an exchange with `server` by a client that knows `password`.
fn exchange(server: &mut Server, hash: Hash, username: &str, password: &str) -> Result<(), ExchangeError> {
    let (mut client, mut message) = client(hash, username, password, "clientnonce");
    while let Some(challenge) = server.hear(&message) {
        message = said(&client.respond(challenge.as_bytes())?);
    }
    assert_eq!(server.state, ServerState::Authenticated);
    client.finish(None)
}

#[test]
fn a_server_that_checks_the_proof_takes_the_right_password_only() {
    for hash in [Hash::Sha1, Hash::Sha256] {
        let mut server = Server::new(hash, "tim", "tanstaaf");
        assert_eq!(exchange(&mut server, hash, "tim", "tanstaaf"), Ok(()));

        let mut server = Server::new(hash, "tim", "tanstaaf");
        assert_eq!(exchange(&mut server, hash, "tim", "tanstaaff"), Err(ExchangeError::Refused));
        assert_eq!(server.state, ServerState::Failed);
    }
}

#[test]
fn a_password_is_the_same_however_it_is_composed() {
    // RFC 4013 §2.2: the server has the precomposed form, somebody types the other.
    let mut server = Server::new(Hash::Sha256, "tim", "caf\u{e9} IX");
    assert_eq!(exchange(&mut server, Hash::Sha256, "tim", "cafe\u{301}\u{a0}\u{2168}"), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_password_authenticates(username in "[!-~]{1,20}", password in "[ -~]{1,80}", sha1 in any::<bool>()) {
        let hash = if sha1 { Hash::Sha1 } else { Hash::Sha256 };
        let mut server = Server::new(hash, &username, &password);
        prop_assert_eq!(exchange(&mut server, hash, &username, &password), Ok(()));
    }
}

proptest! {
    #[test]
    fn nobody_is_believed_by_chance(
        first in prop_oneof![any::<Vec<u8>>(), "r=N[!-~]{0,9},s=[A-Za-z0-9+/=]{0,8},i=[0-9]{0,4}(,[a-z=]{0,5})?".prop_map(String::into_bytes)],
        last in prop_oneof![any::<Vec<u8>>(), "[ve]=[A-Za-z0-9+/]{27}=".prop_map(String::into_bytes)],
    ) {
        let (mut client, _) = client(Hash::Sha1, "user", "pencil", "N");
        let heard = client.respond(&first).and_then(|_| client.respond(&last));
        prop_assert!(heard.is_err());
        prop_assert!(client.finish(Some(&last)).is_err());
    }
}
