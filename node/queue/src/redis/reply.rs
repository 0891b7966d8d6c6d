//! Taking apart what a function answered. Pure. What does not have the expected shape is an error of the store, never a panic.

use redis::Value;

use crate::StoreError;

/// A reply that is not what the function promises: another program wrote there, or a bug.
pub(super) fn unexpected(what: &str) -> StoreError {
    StoreError::Unavailable(format!("unexpected reply from the store: {what}"))
}

/// An array.
pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::ServerError(error) => Err(server_error(error)),
        other => Err(unexpected(&format!("{other:?}"))),
    }
}

/// An error that the server answered.
pub(super) fn server_error(error: redis::ServerError) -> StoreError {
    super::link::store_error(&error.into())
}

/// A number that is not negative.
pub(super) fn number(value: &Value) -> Result<u64, StoreError> {
    let found = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(text) => str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    found.ok_or_else(|| unexpected("not a number"))
}

/// The number at a place.
pub(super) fn number_at(values: &[Value], place: usize) -> Result<u64, StoreError> {
    values.get(place).ok_or_else(|| unexpected("too short")).and_then(number)
}

/// Octets.
pub(super) fn octets(value: Value) -> Result<Vec<u8>, StoreError> {
    match value {
        Value::BulkString(octets) => Ok(octets),
        Value::Nil => Ok(Vec::new()),
        _ => Err(unexpected("not a string")),
    }
}

/// The next value of a reply that is read from left to right.
pub(super) fn next(values: &mut impl Iterator<Item = Value>) -> Result<Value, StoreError> {
    values.next().ok_or_else(|| unexpected("too short"))
}

/// The reply of a function that begins with a code: 4 is "departed" everywhere; the others are the caller's.
pub(super) fn coded(value: Value) -> Result<(u64, impl Iterator<Item = Value>), StoreError> {
    let mut values = array(value)?.into_iter();
    let code = number(&next(&mut values)?)?;
    if code == 4 { Err(StoreError::Departed) } else { Ok((code, values)) }
}
