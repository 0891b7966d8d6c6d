//! What holds of any octets that a node takes for its configuration: they are read without a panic and soon, what is read is in its order and has
//! one encoding, and it travels. Pure.
//!
//! The first octet of an input says what the rest stands for: `P` a pointer, `S` a snapshot in one piece, `I` an index and its pieces, separated
//! by [`SEPARATOR`] and sealed here. `$0` in an index is the name of the first piece, and so on: nobody guesses a hash.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use posthouse_config::{
    Assembled, Assembly, ChunkName, Epoch, IndexError, Pointer, Publication, Refusal, SealingKey, Snapshot,
    SnapshotHash, fuzzing,
};

/// Between an index and its pieces: no JSON has it.
const SEPARATOR: u8 = 0x1e;

/// The longest that some kilobytes may take, on a machine that does much else and with every check that a build can have.
const PATIENCE: Duration = Duration::from_secs(5);

static KEYS: LazyLock<[SealingKey; 1]> = LazyLock::new(|| {
    [SealingKey::parse("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").expect("32 octets in base64")]
});

/// Which law an input breaks, if it breaks one; nothing if the input stands for nothing.
pub(crate) fn broken(input: &[u8]) -> Option<Result<(), String>> {
    let began = Instant::now();
    let (what, rest) = input.split_first()?;
    let held = match what {
        b'P' => pointer(rest),
        b'S' => document(rest),
        b'I' => pieces(rest),
        _ => return None,
    };
    let took = began.elapsed();
    Some(held.and_then(|()| if took > PATIENCE { Err(format!("it took {took:?}")) } else { Ok(()) }))
}

fn pointer(text: &[u8]) -> Result<(), String> {
    let Ok(pointer) = Pointer::decode(text) else { return Ok(()) };
    let encoded = pointer.encode().map_err(|error| error.to_string())?;
    let again = Pointer::decode(encoded.as_bytes()).map_err(|error| error.to_string())?;
    if again == pointer { Ok(()) } else { Err(format!("{pointer:?} becomes {again:?}")) }
}

fn document(text: &[u8]) -> Result<(), String> {
    match Snapshot::decode(text) {
        Ok(snapshot) => of_snapshot(&Arc::new(snapshot)),
        Err(refused) => is_told(&refused),
    }
}

fn pieces(octets: &[u8]) -> Result<(), String> {
    let mut parts = octets.split(|octet| *octet == SEPARATOR);
    let (mut index, keys) = (parts.next().unwrap_or_default().to_vec(), &*KEYS);
    let [key] = keys;
    let mut sealed = HashMap::new();
    for (number, plain) in parts.take(10).enumerate() {
        let piece = fuzzing::chunk(key, plain).map_err(|error| error.to_string())?;
        let name = ChunkName::of(&piece);
        index = replaced(&index, format!("${number}").as_bytes(), name.to_string().as_bytes());
        sealed.insert(name, piece);
    }
    let unsealed =
        Pointer { epoch: Epoch::default(), schema: 3, index: SnapshotHash::of(&index), key: key.id() };
    match Assembly::open(unsealed, &index, keys) {
        Ok(_) => return Err("it is taken without a seal".to_owned()),
        Err(refused) => is_told(&refused)?,
    }
    // The pointer says the same epoch as the index, where that says one: everything else would be found out at once.
    let epoch = serde_json::from_slice::<serde_json::Value>(&index)
        .ok()
        .and_then(|index| serde_json::from_value(index.get("epoch")?.clone()).ok())
        .unwrap_or_default();
    let index = fuzzing::index(key, &index).map_err(|error| error.to_string())?;
    let pointer = Pointer { epoch, index: SnapshotHash::of(&index), ..unsealed };
    let assembled = Assembly::open(pointer, &index, keys).and_then(|assembly| {
        let wanted = assembly.wanted(None);
        let missing = wanted.iter().any(|name| !sealed.contains_key(name));
        let assembled = assembly.assemble(&sealed, keys, None);
        assert!(!missing || assembled.is_err(), "what is not there cannot have been read");
        assembled
    });
    let assembled = match assembled {
        Ok(assembled) => assembled,
        Err(refused) => return is_told(&refused),
    };
    of_snapshot(&assembled.snapshot)?;
    again(pointer, &index, &assembled)
}

/// What is held already is not wanted again, and gives the same.
fn again(pointer: Pointer, index: &[u8], held: &Assembled) -> Result<(), String> {
    let keys = &*KEYS;
    let assembly = Assembly::open(pointer, index, keys).map_err(|error| error.to_string())?;
    let wanted = assembly.wanted(Some(held));
    if !wanted.is_empty() {
        return Err(format!("it is held, and yet {wanted:?} are wanted"));
    }
    let same = assembly.assemble(&HashMap::new(), keys, Some(held)).map_err(|error| error.to_string())?;
    if same.snapshot == held.snapshot {
        Ok(())
    } else {
        Err("what is held is read as another one".to_owned())
    }
}

fn of_snapshot(snapshot: &Arc<Snapshot>) -> Result<(), String> {
    snapshot.check().map_err(|disorder| format!("it was taken, but {disorder}"))?;
    let encoded = snapshot.encode().map_err(|error| error.to_string())?;
    let again = Snapshot::decode(&encoded).map_err(|error| {
        format!("its encoding is refused: {error}\n{}", String::from_utf8_lossy(&encoded))
    })?;
    if again != **snapshot || again.encode().map_err(|error| error.to_string())? != encoded {
        return Err(format!("it has two encodings: {snapshot:?} and {again:?}"));
    }
    travels(snapshot)?;
    if Snapshot::clone(snapshot).sorted() != **snapshot {
        return Err(format!("it was taken as sorted, and is not: {snapshot:?}"));
    }
    for schema in 1..=snapshot.schema {
        let old = snapshot.at_schema(schema).snapshot;
        old.check().map_err(|disorder| format!("for schema {schema}: {disorder}"))?;
    }
    Ok(())
}

/// Publishes it and puts it together again.
fn travels(snapshot: &Arc<Snapshot>) -> Result<(), String> {
    let keys = &*KEYS;
    let [key] = keys;
    let epoch = Epoch { transitions: 0, sequence: snapshot.generation };
    let publication = match Publication::new(snapshot, epoch, key, None) {
        Ok(publication) => publication,
        Err(IndexError::TooLong { .. }) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let sealed: HashMap<_, _> = publication.fresh.iter().cloned().collect();
    let index = sealed.get(&publication.pointer.index.into()).ok_or("its index is not among its pieces")?;
    let arrived: Result<Assembled, Refusal> = Assembly::open(publication.pointer, index, keys)
        .and_then(|assembly| assembly.assemble(&sealed, keys, None));
    match arrived {
        Ok(arrived) if arrived.snapshot == *snapshot => {}
        Ok(arrived) => return Err(format!("sent {snapshot:?}, arrived {:?}", arrived.snapshot)),
        Err(refused) => return Err(format!("what was sent is refused: {refused}")),
    }
    let same =
        Publication::new(snapshot, epoch, key, Some(&publication)).map_err(|error| error.to_string())?;
    if same.fresh.len() == 1 && same.pointer == publication.pointer {
        Ok(())
    } else {
        Err("what did not change is sent again".to_owned())
    }
}

/// A refusal is for people: it has words, and not without end.
fn is_told(refused: &dyn std::error::Error) -> Result<(), String> {
    let length = refused.to_string().len();
    if (1..=4096).contains(&length) { Ok(()) } else { Err(format!("a refusal of {length} octets")) }
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut made = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.windows(from.len()).position(|window| window == from) {
        made.extend_from_slice(&rest[..place]);
        made.extend_from_slice(to);
        rest = &rest[place + from.len()..];
    }
    made.extend_from_slice(rest);
    made
}
