//! Values of statements and columns of rows, as PostgreSQL has them: its integers are 64 bits wide everywhere, but a
//! constant or a comparison in a statement is narrower.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Arguments, ColumnIndex, Encode, Row, Type, TypeInfo, ValueRef};

use super::super::link::Value;

/// Nothing, of whatever type the statement says.
struct Nothing;

impl Type<Postgres> for Nothing {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Nothing {
    fn encode_by_ref(&self, _: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(IsNull::Yes)
    }
}

/// The values of a statement.
pub(super) fn arguments(values: &[Value]) -> PgArguments {
    let mut arguments = PgArguments::default();
    for value in values {
        let added = match value {
            Value::Integer(number) => arguments.add(*number),
            // It has no text with a NUL in it.
            Value::Text(text) if text.contains('\0') => arguments.add(text.replace('\0', "\u{fffd}")),
            Value::Text(text) => arguments.add(text.clone()),
            Value::Null => arguments.add(Nothing),
        };
        added.expect("numbers and texts encode");
    }
    arguments
}

/// A number or a flag, or nothing.
pub(in super::super) fn int<I: ColumnIndex<PgRow>>(
    row: &PgRow,
    column: I,
) -> Result<Option<i64>, sqlx::Error> {
    let index = column.index(row)?;
    let value: PgValueRef<'_> = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    let name = value.type_info().name().to_owned();
    Ok(Some(match name.as_str() {
        "BOOL" => i64::from(row.try_get::<bool, _>(index)?),
        "INT4" => i64::from(row.try_get::<i32, _>(index)?),
        _ => row.try_get::<i64, _>(index)?,
    }))
}
