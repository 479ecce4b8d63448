//! One configuration laid over another.

use crate::NamedList;
use crate::source::{Node, Table, Value};

/// Lays `over` on `under`, key by key. Of two lists with one of these names, the tables of the same name
/// are laid over each other; any other value replaces the one below it.
pub(crate) fn lay(lists: &[NamedList], under: &mut Table, over: Table) {
    for (key, node) in over {
        let Some(below) = under.get_mut(&key) else {
            under.insert(key, node);
            continue;
        };
        let list = lists.iter().find(|list| list.section == key);
        match (&mut below.value, node.value, list) {
            (Value::Table(below), Value::Table(above), _) => lay(&[], below, above),
            (Value::List(below), Value::List(above), Some(list)) => lay_tables(list, below, above),
            (_, value, _) => *below = Node { value, origin: node.origin },
        }
    }
}

/// Lays each table on the one of its name. A second one of that name is kept beside it, and so reported.
fn lay_tables(list: &NamedList, under: &mut Vec<Node>, over: Vec<Node>) {
    let mut free: Vec<usize> = (0..under.len()).collect();
    for above in over {
        let name = list.name_of(&above).map(str::to_owned);
        let is_same =
            |index: &usize| name.is_some() && list.name_of(&under[*index]) == name.as_deref();
        match free.iter().position(is_same) {
            Some(at) => {
                let below = &mut under[free.swap_remove(at)];
                if let (Value::Table(below), Value::Table(above)) = (&mut below.value, above.value)
                {
                    lay(&[], below, above);
                }
            }
            None => under.push(above),
        }
    }
}
