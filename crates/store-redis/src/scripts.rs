//! What runs in Redis. Scripts compare and write; they decide nothing.
//!
//! Each is sent as text, which Redis compiles once: there is no cache of scripts that a restarted or promoted
//! server could lack. The line `#!lua` has a server refuse a script that it could not write for: a replica, or
//! a former primary, never answers from what it has.

/// Compares a session and writes it. `ARGV`: the name of this change, then steps of three: comparisons, then
/// writes. Answers 0 if there is no session, 1 with the session if a comparison fails, 2 with the session as it
/// is after the writes. A change that was made before is not made again, and answers 2.
///
/// `touch` writes even where a comparison fails, so that `WAIT` on this connection waits for whatever made the
/// comparison fail.
pub(crate) const CHANGE: &str = r"#!lua
local key, name = KEYS[1], ARGV[1]
if redis.call('EXISTS', key) == 0 then return {0} end
local function answer(state)
  return {state, redis.call('HGETALL', key), redis.call('TIME')}
end
if name ~= '' and redis.call('HGET', key, 'op') == name then
  redis.call('HSET', key, 'op', name)
  return answer(2)
end
local touches, i = false, 2
while ARGV[i] do
  local step, field, value = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local stored, holds = redis.call('HGET', key, field), true
  if step == 'is' then holds = stored == value
  elseif step == 'none' then holds = not stored
  elseif step == 'over' then holds = stored and tonumber(stored) > tonumber(value)
  elseif step == 'fits' then
    holds = tonumber(stored) + tonumber(redis.call('HGET', key, 'roles_len')) <= tonumber(value)
  elseif step == 'touch' then touches = true
  elseif step == 'set' then redis.call('HSET', key, field, value)
  elseif step == 'del' then redis.call('HDEL', key, field)
  elseif step == 'add' then redis.call('HINCRBY', key, field, value)
  elseif step == 'time' then
    local time = redis.call('TIME')
    redis.call('HSET', key, field, string.format('%.0f', time[1] * 1000000 + time[2]))
  elseif step == 'keep' then redis.call('EXPIRE', key, value)
  end
  if not holds then
    if touches then redis.call('HSET', key, 'touched', name) end
    return answer(1)
  end
  i = i + 3
end
if name ~= '' then redis.call('HSET', key, 'op', name) end
return answer(2)
";

/// Stores a session, unless it is stored. `ARGV`: for how many seconds, then fields and values.
pub(crate) const OPEN: &str = r"#!lua
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'touched', '')
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
";

/// Adds an id to a set. `ARGV`: the id, the most ids (0 for any number), and for how many seconds at least the
/// set is kept (0 for ever). Of too many, those that were generated first go.
pub(crate) const INDEX: &str = r"#!lua
redis.call('ZADD', KEYS[1], 0, ARGV[1])
local most, seconds = tonumber(ARGV[2]), tonumber(ARGV[3])
if most > 0 then
  local surplus = redis.call('ZCARD', KEYS[1]) - most
  if surplus > 0 then redis.call('ZREMRANGEBYRANK', KEYS[1], 0, surplus - 1) end
end
if seconds > 0 and redis.call('TTL', KEYS[1]) < seconds then
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return 1
";

/// Claims a mark for whoever gives its name. `ARGV`: the name, when the mark expires, and for how much longer it is
/// kept, both in seconds. 1 if it is the caller's.
pub(crate) const CLAIM_MARK: &str = r"#!lua
local stored = redis.call('GET', KEYS[1])
if stored then return stored == ARGV[1] and 1 or 0 end
local left = math.max(tonumber(ARGV[2]) - tonumber(redis.call('TIME')[1]), 0)
redis.call('SET', KEYS[1], ARGV[1], 'EX', string.format('%.0f', left + tonumber(ARGV[3])))
return 1
";

/// Gives a mark back that was claimed under this name.
pub(crate) const RELEASE_MARK: &str = r"#!lua
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
";

/// Claims the mark of an order that takes several steps. `ARGV`: as for a mark, then for how many microseconds
/// the caller has it. 2: the caller carries the order out. 1: another caller does. 0: it was carried out.
pub(crate) const BEGIN_ORDER: &str = r"#!lua
local stored, time = redis.call('GET', KEYS[1]), redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if stored then
  local till, name = string.match(stored, '^order ([^ ]*) (.*)$')
  if not till then return 0 end
  if name ~= ARGV[1] and now < tonumber(till) then return 1 end
end
local left = math.max(tonumber(ARGV[2]) - tonumber(time[1]), 0) + tonumber(ARGV[3])
local value = string.format('order %.0f %s', now + tonumber(ARGV[4]), ARGV[1])
redis.call('SET', KEYS[1], value, 'EX', string.format('%.0f', left))
return 2
";

/// Notes that an order was carried out. `ARGV`: the name of who did.
pub(crate) const END_ORDER: &str = r"#!lua
local stored = redis.call('GET', KEYS[1])
if stored == 'done ' .. ARGV[1] then return 1 end
local name = stored and string.match(stored, '^order [^ ]* (.*)$')
if name ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'done ' .. ARGV[1], 'KEEPTTL')
return 1
";

/// The value of a mark, of a primary.
pub(crate) const READ: &str = r"#!lua
return redis.call('GET', KEYS[1])
";

/// Reserves an idempotency key. `ARGV`: the hash of the body, the holder, the lease in milliseconds, and the time
/// that expiries are compared with. Answers `own`, `held` with the body, or `opened` with the body and the session.
pub(crate) const RESERVE: &str = r"#!lua
local key, time = KEYS[1], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local row = redis.call('HMGET', key, 'body', 'holder', 'until', 'sid', 'exp')
if row[4] and tonumber(ARGV[4]) < tonumber(row[5]) then return {'opened', row[1], row[4]} end
if row[3] and now < tonumber(row[3]) and not (row[1] == ARGV[1] and row[2] == ARGV[2]) then
  return {'held', row[1]}
end
redis.call('DEL', key)
redis.call('HSET', key, 'body', ARGV[1], 'holder', ARGV[2], 'until',
  string.format('%.0f', now + tonumber(ARGV[3])))
redis.call('PEXPIRE', key, ARGV[3])
return {'own'}
";

/// Gives an idempotency key back. `ARGV`: the holder.
pub(crate) const RELEASE: &str = r"#!lua
local row = redis.call('HMGET', KEYS[1], 'holder', 'sid')
if row[1] == ARGV[1] and not row[2] then redis.call('DEL', KEYS[1]) end
return 1
";

/// Notes the session that an idempotency key opens. `ARGV`: the hash of the body, the session, when the note
/// expires, the time that this is compared with, and for how many seconds it is kept. 1 if the key is the session's.
pub(crate) const USE_KEY: &str = r"#!lua
local row = redis.call('HMGET', KEYS[1], 'sid', 'exp')
if row[1] == ARGV[2] then return 1 end
if row[1] and tonumber(ARGV[4]) < tonumber(row[2]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'body', ARGV[1], 'sid', ARGV[2], 'exp', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
";

/// Forgets an idempotency key if it opened this session. `ARGV`: the session.
pub(crate) const FORGET_KEY: &str = r"#!lua
if redis.call('HGET', KEYS[1], 'sid') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
";

/// Adds a session to the log of revocations, once. `ARGV`: the session.
pub(crate) const LOG_END: &str = r"#!lua
redis.call('HSET', KEYS[1], 'touched', '')
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
local last = redis.call('HINCRBY', KEYS[1], 'last', 1)
local seconds = tonumber(redis.call('HGET', KEYS[1], 'seconds') or '86400')
redis.call('ZADD', KEYS[2], last, ARGV[1])
redis.call('ZADD', KEYS[3], redis.call('TIME')[1] + seconds, ARGV[1])
return 1
";

/// Reads the log of revocations. `ARGV`: the position behind which, and at most how many entries. Answers the
/// identity of the log, its last position, and each entry with its position and the time it is forgotten.
///
/// The identity is that of the history that the server has: another primary has another one, and may lack entries.
pub(crate) const READ_LOG: &str = r"#!lua
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local last = redis.call('HGET', KEYS[1], 'last') or '0'
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES',
  'LIMIT', 0, ARGV[2])
local entries = {}
for i = 1, #found, 2 do
  local forget = redis.call('ZSCORE', KEYS[3], found[i]) or '0'
  entries[#entries + 1] = {found[i], found[i + 1], forget}
end
return {id, last, entries}
";

/// Forgets entries of the log of revocations. `ARGV`: the time, and at most how many entries.
pub(crate) const FORGET_LOG: &str = r"#!lua
local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(old) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZREM', KEYS[3], id)
end
return #old
";

/// Says for how many seconds entries of the log are kept, as `ARGV` says, unless a longer time was said lately.
pub(crate) const KEEP_LOG: &str = r"#!lua
local row = redis.call('HMGET', KEYS[1], 'seconds', 'said')
local now, seconds = tonumber(redis.call('TIME')[1]), tonumber(ARGV[1])
local before = tonumber(row[1] or '0')
if seconds >= before or tonumber(row[2] or '0') + before < now then
  redis.call('HSET', KEYS[1], 'seconds', ARGV[1], 'said', string.format('%.0f', now))
end
return 1
";

/// Sets a text, unless there is one; answers the one that is there then.
pub(crate) const LEAVE_MARKER: &str = r"#!lua
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
";
