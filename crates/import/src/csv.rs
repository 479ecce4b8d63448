//! People from a CSV file (RFC 4180) with a header: a line for each identity, and those of one person
//! follow one another.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use mintgate_domain::model::Ban;

use crate::person::{Found, ImportedPerson, InvalidRecord, SourceIdentity};
use crate::times;

/// The columns that a file may have; `old_id` is required.
pub(crate) const COLUMNS: [&str; 13] = [
    "old_id",
    "other_id",
    "provider",
    "issuer",
    "subject",
    "email",
    "email_verified",
    "name",
    "username",
    "picture",
    "roles",
    "disabled_until",
    "created_at",
];
/// The longest record, in bytes.
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// Reads records; each has the line on which it begins.
struct Records<R> {
    input: R,
    line: u64,
    record: Vec<u8>,
}

/// A record that was read.
enum Record {
    Fields(Vec<String>),
    Invalid(&'static str),
}

impl<R: BufRead> Records<R> {
    fn next(&mut self) -> io::Result<Option<(u64, Record)>> {
        let began = self.line + 1;
        self.record.clear();
        let mut is_too_long = false;
        loop {
            let before = self.record.len();
            let read = read_line(&mut self.input, &mut self.record, &mut is_too_long)?;
            if read == 0 && before == 0 {
                return Ok(None);
            }
            self.line += u64::from(read > 0);
            let quoted = self.record.iter().fold(false, |quoted, byte| quoted != (*byte == b'"'));
            if read == 0 || is_too_long || !quoted {
                break;
            }
        }
        let record = self.record.trim_ascii_end();
        Ok(Some(match std::str::from_utf8(record) {
            _ if is_too_long => (began, Record::Invalid("it has more than 64 KiB")),
            Err(_) => (began, Record::Invalid("it is not UTF-8")),
            Ok("") => return self.next(),
            Ok(text) => (began, fields(text)),
        }))
    }
}

/// Reads to the end of a line; of a line that is too long, the rest is left out.
fn read_line(
    input: &mut impl BufRead,
    record: &mut Vec<u8>,
    is_too_long: &mut bool,
) -> io::Result<usize> {
    let mut read = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(read);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.map_or(available.len(), |end| end + 1)];
        if record.len() + part.len() > MAX_RECORD_BYTES {
            *is_too_long = true;
        } else {
            record.extend_from_slice(part);
        }
        let length = part.len();
        input.consume(length);
        read += length;
        if end.is_some() {
            return Ok(read);
        }
    }
}

fn fields(text: &str) -> Record {
    let mut fields = vec![];
    let mut rest = text;
    loop {
        let field;
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut value = String::new();
            loop {
                let Some((part, after)) = quoted.split_once('"') else {
                    return Record::Invalid("a quotation mark is not closed");
                };
                value.push_str(part);
                let Some(more) = after.strip_prefix('"') else {
                    rest = after;
                    break;
                };
                value.push('"');
                quoted = more;
            }
            field = value;
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field = rest[..end].to_owned();
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Record::Fields(fields),
            None => return Record::Invalid("something stands behind a closing quotation mark"),
        }
    }
}

/// A person under construction.
struct Building {
    person: ImportedPerson,
    problem: Option<String>,
}

/// Reads all people and passes each on; ends when `found` returns false.
///
/// # Errors
/// If the file cannot be read, or its header is no header.
pub(crate) fn read(
    input: impl BufRead,
    mut found: impl FnMut(Found) -> bool,
) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("it cannot be read: {error}");
    let mut records = Records { input, line: 0, record: vec![] };
    let header = match records.next().map_err(unreadable)? {
        Some((_, Record::Fields(names))) => names,
        Some((_, Record::Invalid(why))) => return Err(format!("line 1: {why}")),
        None => return Err("it is empty; the first line names the columns".to_owned()),
    };
    let columns = columns(&header)?;
    let mut building: Option<Building> = None;
    while let Some((line, record)) = records.next().map_err(unreadable)? {
        let place = format!("line {line}");
        let row = match record {
            Record::Fields(row) if row.len() == header.len() => row,
            Record::Fields(_) => {
                let problem = "it has another number of fields than the header".to_owned();
                if !found(invalid(place, None, problem)) {
                    return Ok(());
                }
                continue;
            }
            Record::Invalid(why) => {
                if !found(invalid(place, None, why.to_owned())) {
                    return Ok(());
                }
                continue;
            }
        };
        let row = Row { columns: &columns, fields: &row };
        let Some(id) = row.text("old_id") else {
            if !found(invalid(place, None, "old_id is empty".to_owned())) {
                return Ok(());
            }
            continue;
        };
        if building.as_ref().is_none_or(|building| building.person.id() != id) {
            if !finish(building.take(), &mut found) {
                return Ok(());
            }
            let person = ImportedPerson { place: Some(place), ..ImportedPerson::new(id) };
            building = Some(Building { person, problem: None });
        }
        if let Some(building) = &mut building
            && let Err(problem) = row.add_to(&mut building.person)
        {
            building.problem.get_or_insert(format!("line {line}: {problem}"));
        }
    }
    finish(building, &mut found);
    Ok(())
}

fn invalid(place: String, id: Option<String>, problem: String) -> Found {
    Found::Invalid(InvalidRecord { place, id, problem })
}

fn finish(building: Option<Building>, found: &mut impl FnMut(Found) -> bool) -> bool {
    let Some(Building { person, problem }) = building else { return true };
    found(match problem {
        None => Found::Person(person),
        Some(problem) => invalid(person.called(), Some(person.id().to_owned()), problem),
    })
}

fn columns(header: &[String]) -> Result<BTreeMap<&'static str, usize>, String> {
    let mut columns = BTreeMap::new();
    for (index, name) in header.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}').trim();
        let Some(known) = COLUMNS.iter().find(|known| **known == name) else {
            let known = COLUMNS.join(", ");
            return Err(format!("line 1: there is no column {name:?}; there are {known}"));
        };
        if columns.insert(*known, index).is_some() {
            return Err(format!("line 1: the column {name} is there twice"));
        }
    }
    if !columns.contains_key("old_id") {
        return Err("line 1: the column old_id is missing".to_owned());
    }
    Ok(columns)
}

struct Row<'a> {
    columns: &'a BTreeMap<&'static str, usize>,
    fields: &'a [String],
}

impl Row<'_> {
    fn text(&self, column: &str) -> Option<&str> {
        let field = self.fields.get(*self.columns.get(column)?)?.trim();
        (!field.is_empty()).then_some(field)
    }

    fn add_to(&self, person: &mut ImportedPerson) -> Result<(), String> {
        let owned = |column| self.text(column).map(str::to_owned);
        let (provider, issuer) = (owned("provider"), owned("issuer"));
        match (provider.or_else(|| issuer.clone()), owned("subject")) {
            (Some(provider), Some(subject)) => {
                person.identities.push(SourceIdentity { provider, subject, issuer });
            }
            (None, None) => {}
            _ => return Err("a provider or issuer needs a subject, and the other way round".into()),
        }
        if let Some(id) = owned("other_id") {
            person.add_id(id);
        }
        for (column, field) in [
            ("email", &mut person.email),
            ("name", &mut person.name),
            ("username", &mut person.username),
            ("picture", &mut person.picture),
        ] {
            *field = field.take().or_else(|| owned(column));
        }
        match self.text("email_verified").map(str::to_ascii_lowercase).as_deref() {
            None | Some("false" | "f" | "0") => {}
            Some("true" | "t" | "1") => person.email_verified = true,
            Some(_) => return Err("email_verified is neither true nor false".to_owned()),
        }
        for role in self.text("roles").unwrap_or_default().split([',', ';']) {
            let role = role.trim();
            if !role.is_empty() && !person.roles.iter().any(|known| known == role) {
                person.roles.push(role.to_owned());
            }
        }
        let ban = match self.text("disabled_until") {
            None => None,
            Some("forever") => Some(Ban::ForEver),
            Some(at) => Some(Ban::Until(
                times::parse(at).map_err(|why| format!("disabled_until: {why}, nor forever"))?,
            )),
        };
        person.ban = person.ban.max(ban);
        if let Some(at) = self.text("created_at") {
            let at = times::parse(at).map_err(|why| format!("created_at: {why}"))?;
            person.created_at = Some(person.created_at.map_or(at, |known| known.min(at)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::Timestamp;

    use super::*;

    fn all(text: &str) -> (Vec<ImportedPerson>, Vec<InvalidRecord>) {
        let (mut people, mut invalid) = (vec![], vec![]);
        let taken = |found| {
            match found {
                Found::Person(person) => people.push(person),
                Found::Invalid(record) => invalid.push(record),
            }
            true
        };
        read(text.as_bytes(), taken).unwrap();
        (people, invalid)
    }

    #[test]
    fn lines_of_one_person_are_joined() {
        let (people, invalid) = all("\u{feff}old_id,provider,subject,email,email_verified,roles,\
             disabled_until,created_at,other_id,name\r\n\
             1,google,g1,ada@example.com,true,\"admin, staff\",,1767323045678,,\"Ada \"\"L\"\", \nKing\"\r\n\
             1,github,77,,,staff,2030-01-01,2025-01-01T00:00:00Z,9,\r\n\
             2,,,bob@example.com,false,,forever,,,\r\n");
        assert_eq!(invalid, []);
        let [ada, bob] = &people[..] else { panic!("{people:?}") };
        assert_eq!(ada.ids, ["1", "9"]);
        let identities = ada.identities.iter().map(|it| (&*it.provider, &*it.subject));
        assert_eq!(identities.collect::<Vec<_>>(), [("google", "g1"), ("github", "77")]);
        assert_eq!(ada.roles, ["admin", "staff"]);
        assert_eq!(ada.ban, Some(Ban::Until(Timestamp::from_unix(1_893_456_000))));
        assert_eq!(ada.created_at, Some(Timestamp::from_unix(1_735_689_600)));
        assert_eq!(ada.name.as_deref(), Some("Ada \"L\", \nKing"));
        assert!(ada.email_verified && !bob.email_verified);
        assert_eq!((&bob.ban, &bob.identities[..]), (&Some(Ban::ForEver), &[][..]));
    }

    #[test]
    fn a_bad_record_costs_itself_alone_and_is_named() {
        let long = "x".repeat(MAX_RECORD_BYTES);
        let (people, invalid) = all(&format!(
            "old_id,provider,subject,created_at\n\
             1,google,a,1970-01-01\n\
             2,google,b,2026-01-01\n\
             3,google\n\
             ,google,c,\n\
             4,google,,\n\
             5,{long},d,\n\
             6,\"google\"x,e,\n\
             7,google,f,\n"
        ));
        let ids: Vec<_> = people.iter().map(ImportedPerson::id).collect();
        assert_eq!(ids, ["2", "7"]);
        let places: Vec<_> = invalid.iter().map(|it| it.place.as_str()).collect();
        // A person is judged when the next one begins, and a line that cannot be read begins nobody.
        assert_eq!(
            places,
            ["line 2, id 1", "line 4", "line 5", "line 7", "line 8", "line 6, id 4"]
        );
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for text in ["", "id,subject\n1,2\n", "subject\n1\n", "old_id,old_id\n1,1\n"] {
            assert!(read(text.as_bytes(), |_| true).is_err(), "{text}");
        }
    }
}
