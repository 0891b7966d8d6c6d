//! What people read at three in the morning.

use serde_json::json;

use crate::fixtures::{ask, domain, explain, forward, neighbour, patterns, router, rule, stranger};

#[test]
fn an_explanation_reads_from_the_question_to_the_answer_and_says_why_not_the_others() {
    let router = router(json!({
        "domains": [domain("example.com", &["alice"], &json!({}))],
        "rules": [
            rule("night", 1, &json!({"suspended": true})),
            rule("customer-b", 2, &json!({"match": patterns(&["*@customer-b.example"], &[])})),
            rule("net", 3, &json!({"match": patterns(&["*@y.example"], &["*@example.net"])})),
            rule("rest", 4, &json!({}))
        ]
    }));
    let explanation = explain(&router, &neighbour(), "x@y.example", "b@example.net");
    assert_eq!(
        explanation.to_string(),
        "from <x@y.example> to <b@example.net>, client 192.168.1.1
  1. domain example.net is no MailDomain of this gateway
  2. the mail may relay: the client's address is in 192.168.0.0/16 of relayControl.networks
  3. RelayRule mail/night (Default, order 1): passed over, it is suspended
  4. RelayRule mail/customer-b (Default, order 2): does not match the sender
  5. RelayRule mail/net (Default, order 3): matches the sender by *@y.example and the recipient by *@example.net
  6. RelayRule mail/rest (Default, order 4): not asked, a rule before it matched
  7. <b@example.net> goes by RelayRule mail/net to net.example:25 (SMTP), queue example.net
accepted:
  <b@example.net> by RelayRule mail/net to net.example:25 (SMTP), queue example.net (online)"
    );
}

#[test]
fn a_refusal_says_which_door_was_shut() {
    let closed = json!({
        "aliases": ["example.org"],
        "unknownRecipients": forward("example.com", &json!({}))
    });
    let router = router(json!({"domains": [domain("example.com", &["alice"], &closed)]}));
    let explanation = explain(&router, &stranger(), "x@y.example", "carol@example.org");
    assert_eq!(
        explanation.to_string(),
        "from <x@y.example> to <carol@example.org>, client 203.0.113.9
  1. domain example.org is an alias of example.com, MailDomain mail/example-com
  2. carol is no user, group or alias of the domain
  3. it was given under the alias example.org, and aliasedRecipients is Reject: not forwarded, so that it cannot go in circles
  4. <carol@example.org> is refused: 550 5.1.1 no such recipient here
refused: 550 5.1.1 no such recipient here"
    );
}

#[test]
fn an_explanation_is_also_a_document_for_programs() {
    let router = router(json!({"domains": [domain("example.com", &["alice"], &json!({}))]}));
    let explanation = explain(&router, &stranger(), "x@y.example", "alice@example.com");
    let document = serde_json::to_value(&explanation).unwrap();
    assert_eq!(document["steps"][1], json!({"step": "recipient", "name": "alice", "is": "user"}));
    assert_eq!(document["decision"]["accepted"]["deliveries"][0]["queue"], json!("example.com"));
    assert_eq!(
        document["decision"]["accepted"]["deliveries"][0]["route"]["origin"],
        json!("MailDomain mail/example-com")
    );
    assert!(ask(&router, &stranger(), "x@y.example", "alice@example.com").is_ok());
}
