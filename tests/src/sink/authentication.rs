//! The server's side of an authentication exchange in a sink's session.

use std::fmt::Write as _;
use std::io::Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use md5::Md5;

use super::manner::Mechanism;
use super::session::Session;

/// Anything that was never said before would do (RFC 2195 §2): a test cannot play it back.
const CHALLENGE: &str = "<1896.697170952@sink.test>";

impl Session<'_> {
    /// `AUTH MECHANISM [INITIAL-RESPONSE]`, to its end.
    pub(super) fn authenticate(&mut self, rest: &str) -> Result<bool, Error> {
        let Some(known) = self.serving.manner.authentication.clone() else {
            return Ok(self.say("502 5.5.1 nobody is asked"));
        };
        let (name, initial) =
            rest.split_once(' ').map_or((rest, None), |(name, initial)| (name, Some(initial)));
        let mechanism = known.mechanisms.iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name));
        let said = match mechanism {
            None => return Ok(self.say("504 5.5.4 no such mechanism")),
            Some(Mechanism::Plain) => {
                let initial = initial.map(str::to_owned);
                let response = initial.map_or_else(|| self.ask(""), |initial| Ok(Some(initial)))?;
                response.and_then(|response| decoded(&response)).map(|message| {
                    let mut parts = message.split('\0').skip(1).map(str::to_owned);
                    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
                })
            }
            Some(Mechanism::Login) => {
                let initial = initial.map(str::to_owned);
                let user = initial.map_or_else(|| self.ask("Username:"), |initial| Ok(Some(initial)))?;
                let password = self.ask("Password:")?;
                user.and_then(|user| decoded(&user)).zip(password.and_then(|password| decoded(&password)))
            }
            Some(Mechanism::CramMd5) => {
                let response =
                    self.ask(CHALLENGE)?.and_then(|response| decoded(&response)).unwrap_or_default();
                let is_right = response == format!("{} {}", known.user, digest(&known.password));
                is_right.then(|| (known.user.clone(), known.password.clone()))
            }
        };
        if said == Some((known.user, known.password)) {
            self.is_authenticated = true;
            return Ok(self.say("235 2.7.0 welcome"));
        }
        Ok(self.say("535 5.7.8 that is not right"))
    }

    fn ask(&mut self, prompt: &str) -> Result<Option<String>, Error> {
        self.say(&format!("334 {}", STANDARD.encode(prompt)));
        self.flush()?;
        self.line()
    }
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

/// RFC 2195 §2: the keyed digest of the challenge, in hexadecimal.
fn digest(password: &str) -> String {
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(password.as_bytes()) else { return String::new() };
    mac.update(CHALLENGE.as_bytes());
    mac.finalize().into_bytes().iter().fold(String::new(), |mut digits, octet| {
        let _ = write!(digits, "{octet:02x}");
        digits
    })
}
