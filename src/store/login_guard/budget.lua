-- One attempt in the counters of a login guard, begun or settled in all of them at once.
--
-- Equal to rules::login_budget::Budget (with rules::lockout::Attempts) and to login_guard::table: a property test holds them
-- equal. What those have not: a reservation has a lease, since whoever holds it may die. Instants are milliseconds since 1970
-- of this server's clock.
--
-- KEYS: the counters by the instant from which they mean nothing; the locks and full windows by their end; then of each counter
--       its state, and of an account's also the sources that it knows, and its state at this source.
-- ARGV: "begin", "consult" (which asks what "begin" would say, and begins nothing), "settle", "pardon" or "show"; the id of the
--       attempt; now, or nothing to have it read here; consecutive failures that lock (0: no lock), for how long; for how long
--       failures are remembered; attempts in a window (0: no window), its length, whether successes count in it (0, 1); the
--       lease; for how long a source is known, how many of an account are; how many counters there may be; how the attempt ended
--       ("failed", "succeeded", "abandoned", or nothing); whether the account knows the source, as "begin" said; then of each
--       counter what it counts by, "account" (with what it knows), "account alone", "known", "both", "source" or "client", and
--       its tag, which says whose it is where locks are listed; of "account" two tags.
-- Answer: the outcome; what is left of what refuses (begin), or whether there is a lock now (settle); whether the account knows
--       the source; then of each counter what rules::login_budget::Kept has: consecutive failures, how long ago the last was,
--       what is left of its lock, what its window counts, how long ago the last of that was.

local ADMITTED, BUSY, SPENT, LOCKED, FULL = 0, 1, 2, 3, 4
-- Settlements that are remembered, so that one that is told twice counts once. They are for as long as the counter means
-- anything, and for a lease at least: a success may leave nothing else to remember.
local REMEMBERED = 32
-- How many of the oldest are looked at to make room for one that comes.
local LOOKED_AT = 16
-- A key stays a little longer than it means anything: clocks are set back.
local SLACK = 60000

local operation, id = ARGV[1], ARGV[2]
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local attempts, lock_for, memory = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local window, within, successes = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'
local lease, known_for, knows, room = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local ending, acquainted = ARGV[14], ARGV[15] == '1'
local counts = ending == 'failed' or (ending == 'succeeded' and successes)
local index, locks = KEYS[1], KEYS[2]

local function since(earlier)
  return math.max(0, now - earlier)
end

-- What a key ends with names it well enough.
local function name(key)
  return string.sub(key, -32)
end

local function list(set, member, instant)
  redis.call('ZADD', set, instant, member)
  redis.call('PEXPIRE', set, math.max(memory, lock_for, within, lease) + SLACK)
end

-- Looks at a few that mean nothing any more: their keys end by themselves.
local function sweep(set)
  local over = redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, LOOKED_AT)
  if #over > 0 then
    redis.call('ZREM', set, unpack(over))
  end
end

-- What lies in the future was written before the clock went back, or by a server whose clock is ahead of this one's. Nothing lasts
-- longer than if it had begun now.
local function set_back(counter)
  local function at_most(instant, latest)
    if not instant or instant <= latest then
      return instant
    end
    counter.was_set_back = true
    return latest
  end
  counter.locked, counter.failed_at = at_most(counter.locked, now + lock_for), at_most(counter.failed_at, now)
  counter.told_until = at_most(counter.told_until, now + lease)
  for at, instant in ipairs(counter.recent) do
    counter.recent[at] = at_most(instant, now)
  end
  for _, reservation in ipairs(counter.held) do
    reservation[2] = at_most(reservation[2], now + lease)
  end
end

-- The same for where an account succeeded; their order stays.
local function set_sources_back(sources)
  local ahead = redis.call('ZRANGEBYSCORE', sources, string.format('(%.0f', now), '+inf')
  for at, member in ipairs(ahead) do
    redis.call('ZADD', sources, now + at - #ahead - 1, member)
  end
end

local function read(key, tag, own, locking)
  local counter = { key = key, tag = tag, own = own, attempts = locking and attempts or 0 }
  local raw = redis.call('GET', key)
  local state = raw and cmsgpack.unpack(raw) or { 0, false, false, {}, {}, {}, false }
  counter.new = not raw
  counter.failed, counter.locked, counter.failed_at = state[1], state[2], state[3]
  counter.recent, counter.held, counter.told, counter.told_until = state[4], state[5], state[6], state[7]
  set_back(counter)
  -- What would lock under today's rule, but did not under yesterday's, leaves one attempt.
  if counter.attempts > 0 and not counter.locked then
    counter.failed = math.min(counter.failed, counter.attempts - 1)
  end
  return counter
end

-- From when on it means nothing.
local function blank_from(counter)
  local from = now
  if counter.locked then
    from = math.max(from, counter.locked)
  end
  if counter.failed > 0 and counter.failed_at then
    from = math.max(from, counter.failed_at + memory)
  end
  if window > 0 and #counter.recent > 0 then
    from = math.max(from, counter.recent[#counter.recent] + within)
  end
  for _, held in ipairs(counter.held) do
    from = math.max(from, held[2])
  end
  if counter.told_until then
    from = math.max(from, counter.told_until)
  end
  return from
end

local function write(counter)
  local from = blank_from(counter)
  if from <= now then
    if not counter.new then
      redis.call('DEL', counter.key)
      redis.call('ZREM', index, name(counter.key))
    end
    return
  end
  local state = { counter.failed, counter.locked, counter.failed_at, counter.recent, counter.held, counter.told,
    counter.told_until or false }
  redis.call('SET', counter.key, cmsgpack.pack(state), 'PX', from - now + SLACK)
  if not counter.own then
    list(index, name(counter.key), from)
  end
end

local function end_leases(counter)
  local held = {}
  for _, reservation in ipairs(counter.held) do
    if reservation[2] > now then
      held[#held + 1] = reservation
    end
  end
  counter.held = held
end

local function forget(counter)
  end_leases(counter)
  while window > 0 and counter.recent[1] and since(counter.recent[1]) >= within do
    table.remove(counter.recent, 1)
  end
  if counter.failed_at and since(counter.failed_at) >= memory and #counter.held == 0 then
    counter.failed, counter.locked, counter.failed_at = 0, false, false
    counter.changed = true
  end
end

-- A lock that is over takes its failures with it.
local function end_lock(counter)
  if counter.locked and counter.locked <= now then
    counter.locked, counter.failed = false, 0
    counter.changed = true
  end
end

local function has_room(counter)
  if not counter.new or counter.own then
    return true
  end
  sweep(index)
  return redis.call('ZCARD', index) < room
end

-- Whether it admits nobody, whatever is in flight.
local function consult(counter)
  forget(counter)
  if counter.locked and now < counter.locked then
    return LOCKED, counter.locked - now
  end
  if window > 0 and #counter.recent >= window then
    return SPENT, math.max(0, within - since(counter.recent[1]))
  end
  return ADMITTED, 0
end

local function begin(counter)
  if not has_room(counter) then
    return FULL, 0
  end
  local said, left = consult(counter)
  if said ~= ADMITTED then
    return said, left
  end
  if window > 0 and #counter.recent + #counter.held >= window then
    return BUSY, 0
  end
  if counter.attempts > 0 then
    end_lock(counter)
    if counter.failed + #counter.held >= counter.attempts then
      return BUSY, 0
    end
  end
  counter.held[#counter.held + 1] = { id, now + lease }
  return ADMITTED, 0
end

-- Takes the reservation back; whether it was there.
local function release(counter)
  for at, reservation in ipairs(counter.held) do
    if reservation[1] == id then
      table.remove(counter.held, at)
      return true
    end
  end
  return false
end

local function was_told(counter)
  for _, told in ipairs(counter.told) do
    if told == id then
      return true
    end
  end
  return false
end

-- Remembers that this settlement was told, if telling it again would change anything.
local function recall(counter)
  local forgets = counter.attempts > 0 and ending == 'succeeded'
  if not forgets and not counts then
    return
  end
  counter.told[#counter.told + 1] = id
  if #counter.told > REMEMBERED then
    table.remove(counter.told, 1)
  end
  counter.told_until = now + lease
end

local function count(counter)
  recall(counter)
  if window > 0 and counts then
    counter.recent[#counter.recent + 1] = now
    if #counter.recent > window then
      table.remove(counter.recent, 1)
    end
  end
  if counter.attempts == 0 then
    return
  end
  end_lock(counter)
  -- What comes during a lock, having begun long before it, leaves the lock and what it says as they are.
  if ending == 'failed' then
    counter.failed, counter.failed_at = counter.failed + 1, now
    if counter.failed >= counter.attempts and not counter.locked then
      counter.locked = now + lock_for
    end
  elseif ending == 'succeeded' and not counter.locked then
    counter.failed = 0
  end
end

-- Until when it admits nobody.
local function closed_until(counter)
  local ends = counter.locked or 0
  if window > 0 and #counter.recent >= window then
    ends = math.max(ends, counter.recent[#counter.recent - window + 1] + within)
  end
  return ends
end

local function settle(counter)
  end_leases(counter)
  if not release(counter) then
    -- Its lease is over, it was never there, or this is told a second time.
    if was_told(counter) then
      return
    end
    forget(counter)
  end
  local before = closed_until(counter)
  count(counter)
  local ends = closed_until(counter)
  if ends > before and ends > now then
    sweep(locks)
    list(locks, counter.tag, ends)
  end
end

-- Forgets whatever was counted; what is in flight goes on.
local function pardon(counter)
  counter.failed, counter.locked, counter.failed_at, counter.recent = 0, false, false, {}
  redis.call('ZREM', locks, counter.tag)
  write(counter)
end

local function report(answer, counter)
  local left = counter.locked and math.max(0, counter.locked - now) or 0
  local remembered = counter.failed_at and since(counter.failed_at) < memory and not counter.locked
  local failed = (remembered or left > 0) and counter.failed or 0
  local recent = 0
  for _, at in ipairs(counter.recent) do
    recent = recent + (since(at) < within and 1 or 0)
  end
  answer[#answer + 1] = failed
  answer[#answer + 1] = failed > 0 and since(counter.failed_at) or 0
  answer[#answer + 1] = left
  answer[#answer + 1] = recent
  answer[#answer + 1] = recent > 0 and since(counter.recent[#counter.recent]) or 0
end

local counters, sources, source = {}, nil, nil
local key, word = 3, 16
while word <= #ARGV do
  local kind, tag = ARGV[word], ARGV[word + 1]
  if kind == 'account' then
    sources, source = KEYS[key + 1], name(KEYS[key + 2])
    if operation == 'begin' or operation == 'consult' then
      local met = tonumber(redis.call('ZSCORE', sources, source) or '')
      if met and met > now then
        set_sources_back(sources)
      end
      acquainted = met and since(met) < known_for
    end
    if operation == 'settle' and ending == 'abandoned' and not acquainted then
      -- Whoever did not hear what "begin" said does not know where it reserved.
      local known = read(KEYS[key + 2], ARGV[word + 2], true, true)
      if release(known) then
        write(known)
      end
    end
    if acquainted then
      counters[#counters + 1] = read(KEYS[key + 2], ARGV[word + 2], true, true)
    else
      counters[#counters + 1] = read(KEYS[key], tag, false, true)
    end
    key, word = key + 3, word + 3
  else
    counters[#counters + 1] = read(KEYS[key], tag, kind == 'known', kind ~= 'source' and kind ~= 'client')
    key, word = key + 1, word + 2
  end
end

for _, counter in ipairs(counters) do
  if counter.was_set_back then
    redis.call('ZADD', locks, 'XX', closed_until(counter), counter.tag)
  end
end

local answer = { ADMITTED, 0, acquainted and 1 or 0 }
if operation == 'begin' or operation == 'consult' then
  for _, counter in ipairs(counters) do
    local said, left = (operation == 'begin' and begin or consult)(counter)
    if said > answer[1] then
      answer[1], answer[2] = said, left
    elseif said == answer[1] then
      answer[2] = math.max(answer[2], left)
    end
  end
end
if operation == 'begin' then
  for _, counter in ipairs(counters) do
    if answer[1] == ADMITTED then
      write(counter)
    elseif counter.changed or counter.was_set_back then
      release(counter)
      write(counter)
    end
  end
elseif operation == 'settle' then
  for _, counter in ipairs(counters) do
    settle(counter)
    write(counter)
    if counter.locked and now < counter.locked then
      answer[2] = 1
    end
  end
  if ending == 'succeeded' and sources then
    set_sources_back(sources)
    redis.call('ZADD', sources, now, source)
    redis.call('ZREMRANGEBYRANK', sources, 0, -1 - knows)
    redis.call('PEXPIRE', sources, known_for + SLACK)
  end
end
for _, counter in ipairs(counters) do
  report(answer, counter)
  if operation == 'pardon' then
    pardon(counter)
  elseif counter.was_set_back and (operation == 'consult' or operation == 'show') then
    -- Or it would be set back again whenever somebody asks, and last until the clock is where it was.
    write(counter)
  end
end
return answer
