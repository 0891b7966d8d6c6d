//! Every reply of the server side, one named constructor each: code, enhanced status (RFC 3463, registry RFC 5248) and the section that
//! says so. Greetings and answers to HELO and EHLO carry no enhanced status (RFC 2034 §4).

use posthouse_model::{EnhancedStatus, Reply, ReplyCode};

/// 220, the greeting: RFC 5321 §4.2, §4.3.1: the host's name is the first word.
pub fn greeting(hostname: &str) -> Reply {
    Reply::new(ReplyCode::READY, None, &format!("{hostname} ESMTP Posthouse")).without_status()
}

/// 554 as the greeting: RFC 5321 §3.1: no mail service here; the client may only QUIT.
pub fn no_service(hostname: &str) -> Reply {
    Reply::new(ReplyCode::FAILED, None, &format!("{hostname} takes no mail from you")).without_status()
}

/// 421 as the greeting: RFC 5321 §3.8: too many connections, or on the way down.
pub fn not_now(hostname: &str) -> Reply {
    Reply::new(ReplyCode::NOT_AVAILABLE, None, &format!("{hostname} is too busy, try again later"))
        .without_status()
}

/// 250 to HELO: RFC 5321 §4.1.1.1.
pub fn hello(hostname: &str) -> Reply {
    Reply::new(ReplyCode::OK, None, hostname).without_status()
}

/// 250 to EHLO: RFC 5321 §4.1.1.1: the first line is the host's name, each further line a keyword.
pub fn extended_hello(hostname: &str, keywords: &[String]) -> Reply {
    let lines = std::iter::once(hostname).chain(keywords.iter().map(String::as_str));
    Reply::new(ReplyCode::OK, None, &lines.collect::<Vec<_>>().join("\n")).without_status()
}

/// 501 to HELO or EHLO: RFC 5321 §4.1.1.1: the name is required.
pub fn hello_name() -> Reply {
    Reply::new(ReplyCode::ARGUMENT_ERROR, None, "your name is missing or not a name").without_status()
}

/// 221 to QUIT: RFC 5321 §4.1.1.10; 2.0.0.
pub fn closing(hostname: &str) -> Reply {
    Reply::new(ReplyCode::CLOSING, Some(EnhancedStatus::success(0, 0)), &format!("{hostname} goodbye"))
}

/// 250 to RSET and NOOP: RFC 5321 §4.1.1.5, §4.1.1.9; 2.0.0.
pub fn done() -> Reply {
    Reply::new(ReplyCode::OK, Some(EnhancedStatus::success(0, 0)), "OK")
}

/// 252 to VRFY: RFC 5321 §3.5.3, §7.3: nobody learns who has a mailbox; 2.0.0.
pub fn cannot_verify() -> Reply {
    Reply::new(
        ReplyCode::CANNOT_VERIFY,
        Some(EnhancedStatus::success(0, 0)),
        "send some mail, it will be tried",
    )
}

/// 214 to HELP: RFC 5321 §4.1.1.8; 2.0.0.
pub fn help() -> Reply {
    let text = "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\nRFC 5321";
    Reply::new(ReplyCode::HELP, Some(EnhancedStatus::success(0, 0)), text)
}

/// 250 to MAIL: RFC 5321 §4.1.1.2; 2.1.0 (RFC 3463 §3.2).
pub fn sender_accepted() -> Reply {
    Reply::new(ReplyCode::OK, Some(EnhancedStatus::success(1, 0)), "sender OK")
}

/// 250 to RCPT: RFC 5321 §4.1.1.3; 2.1.5 (RFC 3463 §3.2).
pub fn recipient_accepted() -> Reply {
    Reply::new(ReplyCode::OK, Some(EnhancedStatus::success(1, 5)), "recipient OK")
}

/// 354 to DATA: RFC 5321 §4.1.1.4; no enhanced status exists for 3yz (RFC 2034 §4).
pub fn start_content() -> Reply {
    Reply::new(ReplyCode::START_CONTENT, None, "send the message, end with <CRLF>.<CRLF>").without_status()
}

/// 250 to the final dot: RFC 5321 §4.1.1.4; 2.0.0. The queue id is what logs and the Received line show too.
pub fn queued(id: &str) -> Reply {
    Reply::new(ReplyCode::OK, Some(EnhancedStatus::success(0, 0)), &format!("queued as {id}"))
}

/// 421 when the host goes down: RFC 5321 §3.8; 4.3.2.
pub fn shutting_down(hostname: &str) -> Reply {
    Reply::new(
        ReplyCode::NOT_AVAILABLE,
        Some(EnhancedStatus::transient(3, 2)),
        &format!("{hostname} is shutting down"),
    )
}

/// 421 when the client is silent: RFC 5321 §4.5.3.2.7; 4.4.2.
pub fn timed_out(hostname: &str) -> Reply {
    Reply::new(
        ReplyCode::NOT_AVAILABLE,
        Some(EnhancedStatus::transient(4, 2)),
        &format!("{hostname} waited too long, closing"),
    )
}

/// 421 after too many failed commands: RFC 5321 §3.8, §7.8; 4.7.0.
pub fn too_many_failures(hostname: &str) -> Reply {
    Reply::new(
        ReplyCode::NOT_AVAILABLE,
        Some(EnhancedStatus::transient(7, 0)),
        &format!("{hostname} too many errors, closing"),
    )
}

/// 220 to STARTTLS: RFC 3207 §4; 2.0.0. The handshake follows.
pub fn ready_for_tls() -> Reply {
    Reply::new(ReplyCode::READY, Some(EnhancedStatus::success(0, 0)), "ready to start TLS")
}

/// 454 to STARTTLS: RFC 3207 §4: no certificate at hand; 4.7.0.
pub fn tls_not_available() -> Reply {
    Reply::new(
        ReplyCode::TEMPORARY_AUTH_FAILURE,
        Some(EnhancedStatus::transient(7, 0)),
        "TLS is not available now, try again later",
    )
}

/// 530 to everything but NOOP, EHLO, STARTTLS and QUIT: RFC 3207 §4; 5.7.0.
pub fn starttls_first() -> Reply {
    Reply::new(ReplyCode::AUTH_REQUIRED, Some(EnhancedStatus::permanent(7, 0)), "say STARTTLS first")
}

/// 250 to BDAT without LAST: RFC 3030 §2; 2.0.0.
pub fn chunk_received(octets: u64) -> Reply {
    Reply::new(ReplyCode::OK, Some(EnhancedStatus::success(0, 0)), &format!("{octets} octets received"))
}

/// 501, a BDAT that does not say how many octets follow: RFC 3030 §2; 5.5.4. The connection closes: what follows cannot be told from commands.
pub fn bad_chunk_size() -> Reply {
    Reply::new(
        ReplyCode::ARGUMENT_ERROR,
        Some(EnhancedStatus::permanent(5, 4)),
        "BDAT octets, or BDAT octets LAST; closing",
    )
}

/// 554, a bare CR or LF in a chunk of content that was not declared binary: RFC 3030 §3, RFC 5321 §2.3.8; 5.6.0.
pub fn bare_line_end_in_chunk() -> Reply {
    Reply::new(
        ReplyCode::FAILED,
        Some(EnhancedStatus::permanent(6, 0)),
        "lines of the message end with CRLF, or say BODY=BINARYMIME",
    )
}

/// 500, a command line above the limit: RFC 5321 §4.5.3.1.4, §4.5.3.1.9; 5.5.2.
pub fn line_too_long() -> Reply {
    Reply::new(ReplyCode::SYNTAX_ERROR, Some(EnhancedStatus::permanent(5, 2)), "line too long")
}

/// 500, a command line whose end does not come: RFC 5321 §4.5.3.1.4, §7.8; 5.5.2. The connection closes.
pub fn endless_line() -> Reply {
    Reply::new(ReplyCode::SYNTAX_ERROR, Some(EnhancedStatus::permanent(5, 2)), "line without an end, closing")
}

/// 500, a bare CR or LF among the commands: RFC 5321 §2.3.8; 5.5.2. The connection closes.
pub fn bare_line_end() -> Reply {
    Reply::new(ReplyCode::SYNTAX_ERROR, Some(EnhancedStatus::permanent(5, 2)), "lines end with CRLF, closing")
}

/// 500, a line that is no text: RFC 5321 §2.4, §4.1.1; 5.5.2.
pub fn not_a_command() -> Reply {
    Reply::new(ReplyCode::SYNTAX_ERROR, Some(EnhancedStatus::permanent(5, 2)), "not a command line")
}

/// 500, a verb that nobody knows: RFC 5321 §4.2.4; 5.5.1 (RFC 5248).
pub fn unknown_command() -> Reply {
    Reply::new(ReplyCode::SYNTAX_ERROR, Some(EnhancedStatus::permanent(5, 1)), "command not recognised")
}

/// 502, a verb that is known but not offered: RFC 5321 §4.2.4; 5.5.1 (RFC 5248).
pub fn not_implemented() -> Reply {
    Reply::new(ReplyCode::NOT_IMPLEMENTED, Some(EnhancedStatus::permanent(5, 1)), "command not implemented")
}

/// 554, the client speaks another protocol: RFC 5321 §7.8; 5.5.1. The connection closes, lest a browser be used to send mail.
pub fn another_protocol() -> Reply {
    Reply::new(ReplyCode::FAILED, Some(EnhancedStatus::permanent(5, 1)), "this is SMTP, closing")
}

/// 554, the client talks before the greeting: RFC 5321 §3.1, §4.3.1; 5.5.1. The connection closes.
pub fn early_talker() -> Reply {
    Reply::new(ReplyCode::FAILED, Some(EnhancedStatus::permanent(5, 1)), "wait for the greeting, closing")
}

/// 554, input behind a command that must end its group: RFC 2920 §3.1; 5.5.0. The connection closes.
pub fn out_of_step() -> Reply {
    Reply::new(
        ReplyCode::FAILED,
        Some(EnhancedStatus::permanent(5, 0)),
        "wait for the reply to this command, closing",
    )
}

/// 501, an argument that is missing, malformed or one too many: RFC 5321 §4.3.2; 5.5.4.
pub fn bad_argument(what: &str) -> Reply {
    Reply::new(ReplyCode::ARGUMENT_ERROR, Some(EnhancedStatus::permanent(5, 4)), what)
}

/// 503, out of order: RFC 5321 §4.1.4; 5.5.1.
pub fn bad_sequence(what: &str) -> Reply {
    Reply::new(ReplyCode::BAD_SEQUENCE, Some(EnhancedStatus::permanent(5, 1)), what)
}

/// 555, a parameter of MAIL or RCPT that was not offered: RFC 5321 §4.1.1.11; 5.5.4.
pub fn unknown_parameter(keyword: &str) -> Reply {
    Reply::new(
        ReplyCode::PARAMETERS_UNKNOWN,
        Some(EnhancedStatus::permanent(5, 4)),
        &format!("parameter {keyword} not recognised"),
    )
}

/// 501, the reverse-path is malformed: RFC 5321 §4.1.1.2; 5.1.7 (RFC 3463 §3.2).
pub fn bad_sender(why: &str) -> Reply {
    Reply::new(
        ReplyCode::ARGUMENT_ERROR,
        Some(EnhancedStatus::permanent(1, 7)),
        &format!("bad sender: {why}"),
    )
}

/// 501, the forward-path is malformed: RFC 5321 §4.1.1.3; 5.1.3 (RFC 3463 §3.2).
pub fn bad_recipient(why: &str) -> Reply {
    Reply::new(
        ReplyCode::ARGUMENT_ERROR,
        Some(EnhancedStatus::permanent(1, 3)),
        &format!("bad recipient: {why}"),
    )
}

/// 550, a sender's address beyond ASCII without SMTPUTF8: RFC 6531 §3.5; 5.6.7 (RFC 5248).
pub fn sender_needs_smtputf8() -> Reply {
    needs_smtputf8(ReplyCode::MAILBOX_UNAVAILABLE)
}

/// 553, a recipient's address beyond ASCII without SMTPUTF8: RFC 6531 §3.5; 5.6.7 (RFC 5248).
pub fn recipient_needs_smtputf8() -> Reply {
    needs_smtputf8(ReplyCode::NAME_NOT_ALLOWED)
}

fn needs_smtputf8(code: ReplyCode) -> Reply {
    let status = EnhancedStatus::permanent(6, 7);
    Reply::new(code, Some(status), "the address needs SMTPUTF8, say it in MAIL")
}

/// 452, one recipient too many: RFC 5321 §4.5.3.1.10; 4.5.3. The client sends the rest in another transaction.
pub fn too_many_recipients() -> Reply {
    Reply::new(
        ReplyCode::NO_ROOM,
        Some(EnhancedStatus::transient(5, 3)),
        "too many recipients, send to these first",
    )
}

/// 552, the message is larger than allowed: RFC 1870 §6.1, §6.3; 5.3.4.
pub fn too_large() -> Reply {
    Reply::new(
        ReplyCode::TOO_MUCH,
        Some(EnhancedStatus::permanent(3, 4)),
        "the message is larger than allowed here",
    )
}

/// 452, no room now: RFC 1870 §6.1; 4.3.1.
pub fn no_room() -> Reply {
    Reply::new(
        ReplyCode::NO_ROOM,
        Some(EnhancedStatus::transient(3, 1)),
        "not enough room now, try again later",
    )
}

/// 554 to DATA when every recipient was refused: RFC 5321 §3.3; 5.5.1.
pub fn no_valid_recipients() -> Reply {
    Reply::new(ReplyCode::FAILED, Some(EnhancedStatus::permanent(5, 1)), "no valid recipients")
}

/// 554, a bare CR or LF in the content: RFC 5321 §2.3.8, §4.1.1.4; 5.6.0. The connection closes: where such content ends is a guess.
pub fn bare_line_end_in_content() -> Reply {
    Reply::new(
        ReplyCode::FAILED,
        Some(EnhancedStatus::permanent(6, 0)),
        "lines of the message end with CRLF, closing",
    )
}

/// 554, a content line above the limit: RFC 5321 §4.5.3.1.6 asks for 1,000 octets at least; 5.6.0.
pub fn content_line_too_long() -> Reply {
    Reply::new(ReplyCode::FAILED, Some(EnhancedStatus::permanent(6, 0)), "a line of the message is too long")
}

/// 554, the message has been through too many hosts: RFC 5321 §6.3; 5.4.6 (RFC 3463 §3.5).
pub fn loop_detected() -> Reply {
    Reply::new(
        ReplyCode::FAILED,
        Some(EnhancedStatus::permanent(4, 6)),
        "too many hops, the message is in a loop",
    )
}

/// 451, something failed here: RFC 5321 §4.2.4.1; 4.3.0.
pub fn local_error() -> Reply {
    Reply::new(ReplyCode::LOCAL_ERROR, Some(EnhancedStatus::transient(3, 0)), "local error, try again later")
}

/// 550, no such mailbox: RFC 5321 §3.3; 5.1.1.
pub fn no_such_mailbox() -> Reply {
    Reply::new(ReplyCode::MAILBOX_UNAVAILABLE, Some(EnhancedStatus::permanent(1, 1)), "no such mailbox here")
}

/// 550, this client may not relay: RFC 5321 §7.9; 5.7.1.
pub fn relaying_denied() -> Reply {
    Reply::new(ReplyCode::MAILBOX_UNAVAILABLE, Some(EnhancedStatus::permanent(7, 1)), "relaying denied")
}
