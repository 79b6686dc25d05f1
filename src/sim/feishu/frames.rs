//! Frames of the simulated long connection, after `pbbp2.Frame`: any protobuf message as a list of its fields. Written
//! apart from the server's own.

/// A protobuf message: field numbers and what they hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(pub(super) Vec<(u8, Held)>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Held {
    Int(u64),
    Bytes(Vec<u8>),
}

impl Fields {
    /// A data frame.
    pub(super) fn data(seq: u64, service: u64, headers: &[(&str, &str)], payload: &[u8]) -> Fields {
        Fields::frame(seq, service, 1, headers, payload)
    }

    /// A control frame.
    pub(super) fn control(service: u64, headers: &[(&str, &str)], payload: &[u8]) -> Fields {
        Fields::frame(0, service, 0, headers, payload)
    }

    fn frame(seq: u64, service: u64, method: u64, headers: &[(&str, &str)], payload: &[u8]) -> Fields {
        let mut fields = vec![(1, Held::Int(seq)), (2, Held::Int(seq * 10)), (3, Held::Int(service))];
        fields.push((4, Held::Int(method)));
        fields.extend(headers.iter().map(|(name, value)| {
            let text = |field, text: &str| (field, Held::Bytes(text.as_bytes().to_vec()));
            (5, Held::Bytes(Fields(vec![text(1, name), text(2, value)]).encode()))
        }));
        fields.push((8, Held::Bytes(payload.to_vec())));
        Fields(fields)
    }

    /// A number.
    pub(super) fn int(&self, wanted: u8) -> Option<u64> {
        self.0.iter().find_map(|(field, held)| match held {
            Held::Int(number) if *field == wanted => Some(*number),
            Held::Int(_) | Held::Bytes(_) => None,
        })
    }

    /// The last bytes under this number.
    pub(super) fn bytes(&self, wanted: u8) -> Option<&[u8]> {
        self.all(wanted).last()
    }

    fn all(&self, wanted: u8) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter_map(move |(field, held)| match held {
            Held::Bytes(bytes) if *field == wanted => Some(bytes.as_slice()),
            Held::Bytes(_) | Held::Int(_) => None,
        })
    }

    /// A frame's header.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.all(5).filter_map(Fields::decode).find_map(|pair| {
            let text = |field| Some(String::from_utf8_lossy(pair.bytes(field)?).into_owned());
            (text(1)? == name).then(|| text(2)).flatten()
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (field, held) in &self.0 {
            match held {
                Held::Int(number) => {
                    out.push(field << 3);
                    push_varint(&mut out, *number);
                }
                Held::Bytes(bytes) => {
                    out.push(field << 3 | 2);
                    push_varint(&mut out, bytes.len() as u64);
                    out.extend(bytes);
                }
            }
        }
        out
    }

    /// Nothing where it is none.
    pub(super) fn decode(mut raw: &[u8]) -> Option<Fields> {
        let mut fields = Vec::new();
        while let Some((&key, rest)) = raw.split_first() {
            raw = rest;
            let number = pull_varint(&mut raw)?;
            let held = match key & 7 {
                0 => Held::Int(number),
                2 => {
                    let (bytes, rest) = raw.split_at_checked(usize::try_from(number).ok()?)?;
                    raw = rest;
                    Held::Bytes(bytes.to_vec())
                }
                _ => return None,
            };
            fields.push((key >> 3, held));
        }
        Some(Fields(fields))
    }
}

fn push_varint(out: &mut Vec<u8>, number: u64) {
    let low = (number % 128) as u8;
    match number / 128 {
        0 => out.push(low),
        rest => {
            out.push(low + 128);
            push_varint(out, rest);
        }
    }
}

fn pull_varint(raw: &mut &[u8]) -> Option<u64> {
    let length = raw.iter().take(10).position(|byte| *byte < 128)? + 1;
    let (bytes, rest) = raw.split_at(length);
    *raw = rest;
    Some(bytes.iter().rev().fold(0, |number: u64, byte| number.wrapping_mul(128) + u64::from(byte % 128)))
}
