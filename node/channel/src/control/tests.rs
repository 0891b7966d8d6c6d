//! The control socket over real socket pairs, with real listening sockets.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
};

use super::*;

fn ends() -> (OperatorEnd, NodeEnd) {
    let (operator, descriptor) = pair().unwrap();
    (operator, NodeEnd::new(descriptor).unwrap())
}

fn listening(name: &str) -> ListeningSocket {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    ListeningSocket { name: name.to_owned(), protocol: "Smtp".to_owned(), address, socket }
}

fn listeners(names: &[&str]) -> Listeners {
    Listeners {
        sockets: names.iter().map(|name| listening(name)).collect(),
        metrics: listening("metrics").socket,
    }
}

#[tokio::test]
async fn both_sides_hear_what_the_other_says() {
    let (mut operator, mut node) = ends();
    operator.sender.send(ToNode::Look).await.unwrap();
    operator.sender.send(ToNode::Drain { within_ms: 7 }).await.unwrap();
    let heard = node.receiver.receive().await.unwrap();
    assert!(matches!(heard, Some(ToNode::Look)));
    assert!(matches!(node.receiver.receive().await.unwrap(), Some(ToNode::Drain { within_ms: 7 })));

    let said = [
        FromNode::Ready,
        FromNode::Seen,
        FromNode::Reported,
        FromNode::Status(Status { ready: false, reason: "a reason\nin two lines".to_owned() }),
    ];
    for message in &said {
        node.sender.send(message.clone()).await.unwrap();
        assert_eq!(operator.receiver.receive().await.unwrap().as_ref(), Some(message));
    }
}

#[tokio::test]
async fn a_socket_that_was_handed_over_accepts_connections_and_is_closed_on_exec() {
    let (mut operator, mut node) = ends();
    let sent = listeners(&["smtp", "submission"]);
    let addresses: Vec<_> = sent.sockets.iter().map(|socket| socket.address).collect();
    let kept: Vec<_> = sent.sockets.iter().map(|socket| socket.socket.try_clone().unwrap()).collect();
    operator.sender.send(ToNode::Listeners(sent)).await.unwrap();

    let Some(ToNode::Listeners(received)) = node.receiver.receive().await.unwrap() else {
        panic!("no listeners")
    };
    for (socket, address) in received.sockets.iter().zip(&addresses) {
        assert_eq!(socket.address, *address);
        let flags = rustix::io::fcntl_getfd(&socket.socket).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let names: Vec<_> = received.sockets.iter().map(|socket| socket.name.as_str()).collect();
    assert_eq!(names, ["smtp", "submission"]);

    let first = received.sockets.into_iter().next().unwrap();
    let mut client = TcpStream::connect(first.address).unwrap();
    let accepting = tokio::net::TcpListener::from_std(first.socket).unwrap();
    let (stream, _) = accepting.accept().await.unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.write_all(b"220").unwrap();
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220");
    drop((accepting, stream, kept));
}

#[tokio::test]
async fn a_client_that_connects_between_two_nodes_waits_for_the_second() {
    let set = listeners(&["smtp"]);
    let kept = set.sockets[0].socket.try_clone().unwrap();
    let address = set.sockets[0].address;
    let (mut operator, mut node) = ends();
    operator.sender.send(ToNode::Listeners(set)).await.unwrap();
    let first = node.receiver.receive().await.unwrap();
    drop((first, node)); // the first node dies with its copy

    let client = TcpStream::connect(address).unwrap();
    let (mut operator, mut node) = ends();
    let again = ListeningSocket {
        name: "smtp".to_owned(),
        protocol: "Smtp".to_owned(),
        address,
        socket: kept.try_clone().unwrap(),
    };
    let metrics = listening("metrics").socket;
    operator.sender.send(ToNode::Listeners(Listeners { sockets: vec![again], metrics })).await.unwrap();
    let Some(ToNode::Listeners(mut received)) = node.receiver.receive().await.unwrap() else {
        panic!("no listeners")
    };
    let accepting = tokio::net::TcpListener::from_std(received.sockets.remove(0).socket).unwrap();
    let (_, peer) = accepting.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

#[tokio::test]
async fn frames_before_and_after_the_sockets_keep_their_order() {
    let (mut operator, mut node) = ends();
    operator.sender.send(ToNode::Look).await.unwrap();
    operator.sender.send(ToNode::Listeners(listeners(&["one"]))).await.unwrap();
    operator.sender.send(ToNode::Look).await.unwrap();
    operator.sender.send(ToNode::Listeners(listeners(&["two", "three"]))).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        match node.receiver.receive().await.unwrap().unwrap() {
            ToNode::Listeners(set) => seen.extend(set.sockets.into_iter().map(|socket| socket.name)),
            _ => seen.push("look".to_owned()),
        }
    }
    assert_eq!(seen, ["look", "one", "look", "two", "three"]);
}

#[tokio::test]
async fn a_full_set_of_sockets_fits_into_one_frame() {
    let (mut operator, mut node) = ends();
    let names: Vec<_> = (1..MAX_SOCKETS).map(|number| format!("listener-{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    operator.sender.send(ToNode::Listeners(listeners(&names))).await.unwrap();
    let Some(ToNode::Listeners(received)) = node.receiver.receive().await.unwrap() else {
        panic!("no listeners")
    };
    assert_eq!(received.sockets.len(), MAX_SOCKETS - 1);

    let mut too_many = names.clone();
    too_many.push("one more");
    let error = operator.sender.send(ToNode::Listeners(listeners(&too_many))).await.unwrap_err();
    assert!(matches!(error, ControlError::WrongSockets));
}

#[tokio::test]
async fn the_end_of_the_operator_is_heard() {
    let (operator, mut node) = ends();
    drop(operator);
    assert!(node.receiver.receive().await.unwrap().is_none());
    assert!(matches!(node.sender.send(FromNode::Ready).await, Err(ControlError::Gone)));
}

#[tokio::test]
async fn an_operator_that_ended_without_listening_is_gone_too() {
    let (operator, mut node) = ends();
    node.sender.send(FromNode::Ready).await.unwrap(); // never read: the kernel says "reset" instead of "end"
    drop(operator);
    assert!(node.receiver.receive().await.unwrap().is_none());
}

#[tokio::test]
async fn half_a_frame_is_no_message() {
    let (mut raw, descriptor) = UnixStream::pair().unwrap();
    let mut node = NodeEnd::new(descriptor.into()).unwrap();
    raw.write_all(br#"{"type":"drain","withi"#).unwrap();
    drop(raw);
    assert!(node.receiver.receive().await.unwrap().is_none());
}

#[tokio::test]
async fn a_frame_in_pieces_is_put_together() {
    let (mut raw, descriptor) = UnixStream::pair().unwrap();
    let mut node = NodeEnd::new(descriptor.into()).unwrap();
    for octet in b"{\"type\":\"drain\",\"withinMs\":30000}\n" {
        raw.write_all(&[*octet]).unwrap();
        // Cancelled in the middle again and again: nothing is lost by it.
        let received = tokio::select! {
            biased;
            received = node.receiver.receive() => received.unwrap(),
            () = tokio::task::yield_now() => None,
        };
        assert!(received.is_none() || *octet == b'\n');
        if received.is_some() {
            return;
        }
    }
    assert!(matches!(node.receiver.receive().await.unwrap(), Some(ToNode::Drain { within_ms: 30_000 })));
}

#[tokio::test]
async fn a_frame_without_end_is_refused() {
    let (mut raw, descriptor) = UnixStream::pair().unwrap();
    let mut node = NodeEnd::new(descriptor.into()).unwrap();
    let writer = std::thread::spawn(move || raw.write_all(&vec![b'x'; 2 * MAX_FRAME]));
    assert!(matches!(node.receiver.receive().await, Err(ControlError::FrameTooLong)));
    drop(node);
    let _ = writer.join().unwrap();
}

#[tokio::test]
async fn a_frame_that_names_sockets_it_does_not_bring_is_refused() {
    let (mut raw, descriptor) = UnixStream::pair().unwrap();
    let mut node = NodeEnd::new(descriptor.into()).unwrap();
    raw.write_all(b"{\"type\":\"listeners\",\"sockets\":[],\"metrics\":\"127.0.0.1:1\"}\n").unwrap();
    assert!(matches!(node.receiver.receive().await, Err(ControlError::WrongSockets)));
}

#[tokio::test]
async fn what_is_no_frame_is_refused() {
    for nonsense in ["hello\n", "{\"type\":\"dance\"}\n", "\n"] {
        let (mut raw, descriptor) = UnixStream::pair().unwrap();
        let mut node = NodeEnd::new(descriptor.into()).unwrap();
        raw.write_all(nonsense.as_bytes()).unwrap();
        assert!(matches!(node.receiver.receive().await, Err(ControlError::Malformed(_))), "{nonsense:?}");
    }
}

#[tokio::test]
async fn a_file_is_no_control_socket() {
    let file = tempfile::tempfile().unwrap();
    assert!(matches!(NodeEnd::new(file.into()), Err(ControlError::NoSocket)));
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let (mut operator, mut node) = ends();
    let writer = tokio::spawn(async move {
        for within_ms in 0..20_000 {
            operator.sender.send(ToNode::Drain { within_ms }).await.unwrap();
        }
    });
    for expected in 0..20_000 {
        let heard = node.receiver.receive().await.unwrap();
        assert!(matches!(heard, Some(ToNode::Drain { within_ms }) if within_ms == expected));
    }
    writer.await.unwrap();
}
