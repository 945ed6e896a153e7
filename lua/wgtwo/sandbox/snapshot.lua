--- Everything that the sandbox knows, as plain values: taken, and put back.
--
-- A snapshot holds the history with its deliveries, subscriptions with their positions and what is unacknowledged,
-- tokens and codes, number pools, faults with their counts, the plans of fake events, what is to be published later,
-- answers to number lookups, the keys of id_tokens, and the generators' states. It does not hold open streams: after a
-- restore their subscriptions wait for them, as after a disconnect. Nor does it hold the journal, and faults of the
-- wire.
--
-- @module wgtwo.sandbox.snapshot

local clock = require "wgtwo.sandbox.clock"
local core = require "wgtwo.core"
local identity = require "wgtwo.sandbox.identity"
local kinds = require "wgtwo.sandbox.kinds"
local log = require "wgtwo.sandbox.log"
local numbers = require "wgtwo.sandbox.numbers"
local subscription = require "wgtwo.sandbox.subscription"

local snapshot = {}

snapshot.VERSION = 1

--- An event's payload in proto3's JSON, as a table.
-- @tparam table event
-- @treturn table
function snapshot.payload(event)
  return core.json_decode(core.tojson(log.payload(event), { names = "proto" }))
end

--- An event as plain values.
function snapshot.event(event)
  return { id = event.id, type = event.kind.name, at = event.at, number = event.number, client = event.client,
    payload = snapshot.payload(event) }
end

--- To which subscriptions an event was delivered, as plain values; nil: to none.
-- @tparam table event
-- @treturn ?table
function snapshot.records(event)
  local list, record = {}, event.newest_record
  while record do
    local sub = record.subscription
    list[#list + 1] = { id = sub.id, name = sub.name, client = sub.client, deliveries = record.deliveries,
      acked = record.acked }
    record = record.older
  end
  return list[1] and list
end

--- A subscription as plain values; nil for one that ends with its stream.
function snapshot.subscription(sub)
  if not sub.key then return nil end
  local names, pending = {}, {}
  for name in pairs(sub.kinds) do names[#names + 1] = name end
  table.sort(names)
  for id, record in pairs(sub.pending) do pending[#pending + 1] = { id = id, deliveries = record.deliveries } end
  table.sort(pending, function(a, b) return a.id < b.id end)
  return { id = sub.id, api = sub.api, key = sub.key, name = sub.name, kinds = names, client = sub.client,
    cursor = sub.cursor, kept = sub.kept, exclusive = sub.exclusive, counts = sub.counts,
    pending = core.json_array(pending), left_at = sub.expiry and sub.expiry.at - sub.kept }
end

local function values(map)
  local list = {}
  for _, value in pairs(map) do list[#list + 1] = value end
  table.sort(list, function(a, b) return a.value < b.value end)
  return list
end

local function scopes_list(token)
  local list = {}
  for scope in pairs(token.scopes) do list[#list + 1] = scope end
  table.sort(list)
  return core.json_array(list)
end

--- Tokens as plain values. They are of this sandbox alone, and worth nothing elsewhere.
function snapshot.tokens(tokens)
  local access, refresh, codes = {}, {}, {}
  for i, token in ipairs(values(tokens.access)) do
    access[i] = { value = token.value, client = token.client, scopes = scopes_list(token), scope = token.scope,
      user = token.user, expires_at = token.expires_at }
  end
  for i, token in ipairs(values(tokens.refresh)) do
    refresh[i] = { value = token.value, client = token.client, list = core.json_array(token.list), user = token.user }
  end
  for value, code in pairs(tokens.codes) do
    codes[#codes + 1] = { value = value, client = code.client, list = core.json_array(code.list), user = code.user,
      redirect_uri = code.redirect_uri, nonce = code.nonce, expires_at = code.expires_at }
  end
  table.sort(codes, function(a, b) return a.value < b.value end)
  return { access = core.json_array(access), refresh = core.json_array(refresh), codes = core.json_array(codes) }
end

--- The states of the generators, as text: 64 bits do not fit JSON's numbers.
function snapshot.randoms(sandbox)
  local function text(r) return ("%d"):format(r.state) end
  return { events = text(sandbox.random), ids = text(sandbox.ids), tokens = text(sandbox.tokens.random),
    faults = text(sandbox.faults.random) }
end

--- The plans of fake events, with how far each is.
local function plans_of(sandbox)
  local plans = {}
  for i, running in ipairs(sandbox.generators) do plans[i] = running.describe() end
  return core.json_array(plans)
end

--- What is to be published, in its order.
local function later_of(sandbox)
  local list = {}
  for later in pairs(sandbox.later) do
    local wish = later.wish
    list[#list + 1] = { at = later.timer.at, kind = wish.kind, number = wish.number, client = wish.client,
      payload = wish.payload }
  end
  table.sort(list, function(a, b) return a.at < b.at end)
  return core.json_array(list)
end

--- Takes a snapshot of all but the events.
-- @tparam table sandbox the server
-- @treturn table
function snapshot.without_events(sandbox)
  local now, subs = sandbox.clock:now(), {}
  for _, sub in ipairs(sandbox.subscriptions:list()) do subs[#subs + 1] = snapshot.subscription(sub) end
  return { version = snapshot.VERSION, time = now, virtual = sandbox.clock.virtual, last = sandbox.log.last,
    subscriptions = core.json_array(subs), serial = sandbox.subscriptions.serial,
    tokens = snapshot.tokens(sandbox.tokens), pools = sandbox.pools, random = snapshot.randoms(sandbox),
    faults = core.json_array(sandbox.faults:describe()), plans = plans_of(sandbox), later = later_of(sandbox),
    lookups = core.json_array(sandbox.lookups),
    keys = identity.export(sandbox) }
end

--- Takes a snapshot.
-- @tparam table sandbox the server
-- @treturn table
function snapshot.take(sandbox)
  local history, events = sandbox.log, {}
  for id = history.first, history.last do
    local event = snapshot.event(history:get(id))
    event.records = snapshot.records(history:get(id))
    events[#events + 1] = event
  end
  local taken = snapshot.without_events(sandbox)
  taken.events = core.json_array(events)
  return taken
end

-- Putting back --------------------------------------------------------------------------------------------------------

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

local function restore_event(sandbox, given)
  local kind = assert(kinds.get(given.type))
  local message = assert(core.fromjson(kind.payload, core.json_encode(given.payload)))
  sandbox.log:restore{ id = math.tointeger(given.id), kind = kind, at = given.at, number = given.number,
    client = given.client, payload = core.totable(message) }
end

local function restore_subscription(sandbox, given)
  local sub = sandbox.subscriptions:add{ id = math.tointeger(given.id), api = given.api, key = given.key,
    name = given.name, kinds = set_of(given.kinds), client = given.client, cursor = math.tointeger(given.cursor),
    kept = given.kept, exclusive = given.exclusive }
  for name, count in pairs(given.counts or {}) do sub.counts[name] = count end
  for _, one in ipairs(given.pending) do
    local event = sandbox.log:get(math.tointeger(one.id))
    if event then
      local record = subscription.record(sub, event)
      record.deliveries = one.deliveries
      sub.pending[event.id] = record
      sub.again.tail = sub.again.tail + 1
      sub.again[sub.again.tail] = record
    end
  end
  sandbox.subscriptions:expire_later(sub, (given.left_at or sandbox.clock:now()) + given.kept)
end

--- Puts back to whom the events were delivered, but for what its subscription has as unacknowledged already.
local function restore_records(sandbox, events)
  local gone = {} -- id → a subscription that is no more, as far as it is known
  for _, given in ipairs(events) do
    local event = sandbox.log:get(math.tointeger(given.id))
    for _, one in ipairs(given.records or {}) do
      local id = math.tointeger(one.id)
      local sub = sandbox.subscriptions.by_id[id]
      if not sub then
        gone[id] = gone[id] or { id = id, name = one.name, client = one.client }
        sub = gone[id]
      end
      if not (sub.pending and sub.pending[event.id]) then
        local record = subscription.record(sub, event)
        record.deliveries, record.acked = math.tointeger(one.deliveries), one.acked
      end
    end
  end
end

local function restore_tokens(tokens, given)
  tokens:clear()
  for _, token in ipairs(given.access) do
    tokens.access[token.value] = { value = token.value, client = token.client, scopes = set_of(token.scopes),
      scope = token.scope, user = token.user, expires_at = token.expires_at }
  end
  for _, token in ipairs(given.refresh) do
    tokens.refresh[token.value] = { value = token.value, client = token.client, list = token.list, user = token.user }
  end
  for _, code in ipairs(given.codes or {}) do
    tokens.codes[code.value] = { client = code.client, list = code.list, user = code.user,
      redirect_uri = code.redirect_uri, nonce = code.nonce, expires_at = code.expires_at }
  end
end

local function restore_randoms(sandbox, given)
  local generators = { events = sandbox.random, ids = sandbox.ids, tokens = sandbox.tokens.random,
    faults = sandbox.faults.random }
  for name, r in pairs(generators) do r.state = assert(math.tointeger(tonumber(given[name])), name) end
end

local function put_back(sandbox, given)
  if sandbox.clock.virtual and given.virtual then sandbox.clock.time = given.time end
  for _, event in ipairs(given.events) do restore_event(sandbox, event) end
  if sandbox.log.last < given.last then -- all events have left the history: their numbers are used up nevertheless
    sandbox.log.first, sandbox.log.last = given.last + 1, math.tointeger(given.last)
  end
  for _, sub in ipairs(given.subscriptions) do restore_subscription(sandbox, sub) end
  restore_records(sandbox, given.events)
  sandbox.subscriptions.serial = math.tointeger(given.serial)
  restore_tokens(sandbox.tokens, given.tokens)
  for client, list in pairs(given.pools) do
    if #list > 0 then
      for _, number in ipairs(list) do assert(numbers.is_e164(number), "a number is not E.164") end
      sandbox.pools[client] = list
    end
  end
  restore_randoms(sandbox, given.random)
  sandbox.faults:restore(given.faults)
  sandbox:generate(given.plans or sandbox.plans or {}) -- on the clock as it is now
  for _, wish in ipairs(given.later or {}) do sandbox:publish_later(wish, wish.at) end
  sandbox.lookups = given.lookups or {}
  if given.keys then identity.import(sandbox, given.keys) end
end

-- What every snapshot has, and of which type.
local parts = { time = "number", virtual = "boolean", last = "number", serial = "number", events = "table",
  subscriptions = "table", tokens = "table", pools = "table", random = "table", faults = "table" }

--- What is missing, or of another type.
local function misshapen(given)
  if given.version ~= snapshot.VERSION then return "this is no snapshot of this version" end
  for name, wanted in pairs(parts) do
    if type(given[name]) ~= wanted then
      return ("this is no snapshot: it has no %s, or of another type"):format(name)
    end
  end
  if given.time < 0 or given.time > clock.LATEST then
    return ("the snapshot cannot be read: time must be 0 to %d seconds since 1970"):format(clock.LATEST)
  end
end

--- Goes back to a snapshot. Every stream ends.
-- @tparam table sandbox the server
-- @tparam table given
-- @treturn ?boolean true
-- @treturn ?string why not; the sandbox is as it was then, but for the streams
function snapshot.restore(sandbox, given)
  local problem = misshapen(given)
  if problem then return nil, problem end
  local before = snapshot.take(sandbox)
  sandbox:reset()
  local ok
  ok, problem = pcall(put_back, sandbox, given)
  if ok then return true end
  sandbox:reset()
  put_back(sandbox, before)
  return nil, "the snapshot cannot be read: " .. tostring(problem):gsub("^[^:]*%.lua:%d+: ", "")
end

return snapshot
