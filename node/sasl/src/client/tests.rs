//! Whole exchanges as the protocols drive them: each mechanism's own words, and what no server may do to any of them.

use proptest::prelude::*;

use super::*;
use crate::credentials::Half;

const ROOM: usize = 400;

fn client(mechanism: Mechanism) -> Client {
    let credentials = Credentials::new("tim", "tanstaaftanstaaf").unwrap();
    Client::new(mechanism, credentials, [7; NONCE_LENGTH]).unwrap()
}

fn said(response: &Response) -> &str {
    std::str::from_utf8(response.as_octets()).unwrap()
}

fn answer(client: &mut Client, challenge: &str) -> String {
    said(&client.respond(challenge.as_bytes()).unwrap()).to_owned()
}

#[test]
fn plain_says_all_at_once() {
    // RFC 4616 §4
    let mut client = client(Mechanism::Plain);
    assert_eq!(said(&client.initial(ROOM).unwrap()), "\0tim\0tanstaaftanstaaf");
    assert_eq!(client.finish(None), Ok(()));
}

#[test]
fn login_answers_two_prompts_whatever_they_say() {
    for prompts in
        [["Username:", "Password:"], ["User Name\0", "Password\0"], ["", ""], ["Password:", "Username:"]]
    {
        let mut client = client(Mechanism::Login);
        assert!(client.initial(ROOM).is_none());
        assert_eq!(prompts.map(|prompt| answer(&mut client, prompt)), ["tim", "tanstaaftanstaaf"]);
        assert_eq!(client.finish(None), Ok(()));
    }
}

#[test]
fn cram_md5_digests_the_challenge() {
    // RFC 2195 §2
    let mut client = client(Mechanism::CramMd5);
    assert!(client.initial(ROOM).is_none());
    let response = answer(&mut client, "<1896.697170952@postoffice.reston.mci.net>");
    assert_eq!(response, "tim b913a602c7eda7a495b4e6e7334d3890");
    assert_eq!(client.finish(None), Ok(()));
}

#[test]
fn cram_md5_digests_no_empty_challenge() {
    let mut client = client(Mechanism::CramMd5);
    assert_eq!(client.respond(b"").unwrap_err(), ExchangeError::MalformedChallenge);
    assert_eq!(client.finish(None), Err(ExchangeError::Over));
}

#[test]
fn xoauth2_shows_its_token() {
    let credentials =
        Credentials::new("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg").unwrap();
    let mut client = Client::new(Mechanism::XOAuth2, credentials, [0; NONCE_LENGTH]).unwrap();
    // The example of Google's page.
    assert_eq!(
        client.initial(ROOM).unwrap().to_base64().as_str(),
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    );
    assert_eq!(client.finish(None), Ok(()));
}

#[test]
fn xoauth2_acknowledges_its_error_and_fails() {
    let refused = || {
        let mut client = client(Mechanism::XOAuth2);
        client.initial(ROOM).unwrap();
        assert_eq!(
            answer(&mut client, r#"{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}"#),
            ""
        );
        client
    };
    assert_eq!(refused().finish(None), Err(ExchangeError::Refused));
    let mut again = refused();
    assert_eq!(again.respond(b"{}").unwrap_err(), ExchangeError::UnexpectedChallenge);
}

#[test]
fn xoauth2_has_no_field_smuggled_into_it() {
    for (username, token, half) in [
        ("tim\x01auth=Bearer x", "t", Half::Username),
        ("tim", "t\x01host=x", Half::Password),
        ("tim", "t\n", Half::Password),
    ] {
        let credentials = Credentials::new(username, token).unwrap();
        let error = Client::new(Mechanism::XOAuth2, credentials, [0; NONCE_LENGTH]).unwrap_err();
        assert_eq!(error, CredentialsError::Control(half));
    }
}

#[test]
fn what_finds_no_room_in_the_command_answers_the_empty_challenge() {
    // RFC 4954 §4, RFC 5034 §4
    for mechanism in [Mechanism::Plain, Mechanism::XOAuth2, Mechanism::ScramSha1, Mechanism::ScramSha256] {
        let initial = client(mechanism).initial(usize::MAX).unwrap();
        let length = initial.to_base64().len();
        assert!(client(mechanism).initial(length).is_some());

        let mut late = client(mechanism);
        assert!(late.initial(length - 1).is_none());
        assert_eq!(late.respond(b"").unwrap().as_octets(), initial.as_octets());
        assert!(late.initial(length).is_none(), "it is said once");

        let mut astray = client(mechanism);
        assert_eq!(astray.respond(b"x").unwrap_err(), ExchangeError::MalformedChallenge);
        assert!(astray.initial(length).is_none());
        assert_eq!(astray.respond(b"").unwrap_err(), ExchangeError::Over);
        assert_eq!(client(mechanism).finish(None), Err(ExchangeError::Unfinished));
    }
}

#[test]
fn the_longest_credentials_fit_the_longest_line() {
    // RFC 4954 §4: 12,288 octets with CRLF.
    let password = "p".repeat(crate::credentials::LONGEST - 3);
    let credentials = Credentials::new("tim", &password).unwrap();
    for mechanism in [Mechanism::Plain, Mechanism::XOAuth2] {
        let mut client = Client::new(mechanism, credentials, [0; NONCE_LENGTH]).unwrap();
        assert!(client.initial(12_288 - 2).is_some());
    }
}

#[test]
fn a_challenge_too_many_ends_the_exchange() {
    for (mechanism, challenges) in
        [(Mechanism::Plain, &[][..]), (Mechanism::Login, &["a", "b"]), (Mechanism::CramMd5, &["a"])]
    {
        let mut client = client(mechanism);
        client.initial(ROOM);
        for challenge in challenges {
            client.respond(challenge.as_bytes()).unwrap();
        }
        assert_eq!(client.respond(b"").unwrap_err(), ExchangeError::UnexpectedChallenge, "{mechanism}");
        assert_eq!(client.respond(b"").unwrap_err(), ExchangeError::Over, "{mechanism}");
        assert_eq!(client.finish(None), Err(ExchangeError::Over), "{mechanism}");
    }
}

#[test]
fn success_before_the_end_is_none() {
    for mechanism in [Mechanism::Login, Mechanism::CramMd5, Mechanism::ScramSha1, Mechanism::ScramSha256] {
        let mut client = client(mechanism);
        client.initial(ROOM);
        assert_eq!(client.finish(None), Err(ExchangeError::Unfinished), "{mechanism}");
    }
    let mut half = client(Mechanism::Login);
    half.respond(b"Username:").unwrap();
    assert_eq!(half.finish(None), Err(ExchangeError::Unfinished));
}

#[test]
fn data_with_the_success_belongs_to_scram_only() {
    for (data, result) in [(&b""[..], Ok(())), (b"x", Err(ExchangeError::UnexpectedChallenge))] {
        let mut client = client(Mechanism::Plain);
        client.initial(ROOM);
        assert_eq!(client.finish(Some(data)), result);
    }
}

#[test]
fn a_challenge_has_an_end() {
    let mut long = client(Mechanism::CramMd5);
    assert!(long.respond(&[b'x'; LONGEST_CHALLENGE]).is_ok());
    let mut longer = client(Mechanism::CramMd5);
    assert_eq!(longer.respond(&[b'x'; LONGEST_CHALLENGE + 1]).unwrap_err(), ExchangeError::ChallengeTooLong);
}

#[test]
fn a_nonce_is_used_as_it_was_given() {
    let mut client = client(Mechanism::ScramSha256);
    assert_eq!(said(&client.initial(ROOM).unwrap()), "n,,n=tim,r=BwcHBwcHBwcHBwcHBwcHBwcH");
}

#[test]
fn no_secret_is_shown() {
    for mechanism in Mechanism::ALL {
        let mut client = client(mechanism);
        let response = client.initial(ROOM);
        assert_eq!(format!("{client:?}"), format!("Client {{ mechanism: {mechanism:?}, .. }}"));
        assert!(response.is_none_or(|response| format!("{response:?}") == "Response(..)"));
    }
}

proptest! {
    #[test]
    fn no_server_can_make_it_panic_or_talk_without_end(
        mechanism in prop::sample::select(&Mechanism::ALL),
        says_initial in any::<bool>(),
        challenges in prop::collection::vec(prop_oneof![Just(Vec::new()), any::<Vec<u8>>()], 5),
        data in any::<Option<Vec<u8>>>(),
    ) {
        let mut client = client(mechanism);
        if says_initial {
            client.initial(ROOM);
        }
        let answered = challenges.iter().take_while(|challenge| client.respond(challenge).is_ok()).count();
        prop_assert!(answered <= 2, "{mechanism}: {answered}");
        prop_assert_eq!(client.finish(data.as_deref()), Err(ExchangeError::Over));
    }

    #[test]
    fn any_credentials_are_said_or_refused(mechanism in prop::sample::select(&Mechanism::ALL), username in any::<String>(), password in any::<String>()) {
        if let Ok(mut client) = Credentials::new(&username, &password)
            .and_then(|credentials| Client::new(mechanism, credentials, [7; NONCE_LENGTH]))
        {
            let shown = client.initial(usize::MAX);
            if mechanism == Mechanism::Plain {
                let expected = [b"\0", username.as_bytes(), b"\0", password.as_bytes()].concat();
                prop_assert_eq!(shown.unwrap().as_octets().to_vec(), expected);
            }
        }
    }
}
