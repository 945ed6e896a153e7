--- The admin API: HTTP with JSON, for whoever stands behind the curtain.
--
-- | request | does |
-- |---|---|
-- | GET / | where everything is: `target`, `plaintext_target`, `ca`, `oauth_url`, `token_url`, … |
-- | GET, POST /admin/events | lists events (`?type=&after=&limit=`); publishes `{type, number, client, payload}` |
-- | GET /admin/kinds | the types that can be published |
-- | GET, DELETE /admin/streams | lists open streams; ends them (`?method=&client=&code=`) |
-- | GET, POST, DELETE /admin/faults | lists, sets, clears faults; DELETE /admin/faults/ID takes back one |
-- | GET, POST /admin/clock | the time; `{advance}` in seconds, at most a year at a time |
-- | GET, POST /admin/numbers | number pools; `{client, numbers}` |
-- | POST /admin/generate | `{plans}` replaces what fake events there are |
-- | GET, DELETE /admin/journal | the calls (`?method=&client=&after=&limit=`) |
-- | DELETE /admin/tokens | makes every token worthless, refresh tokens too |
-- | POST /admin/keys | a new key signs id_tokens |
-- | GET, POST /admin/lookups | answers to number lookups; asks `{number, recipient}`, in E.164 form |
-- | GET, POST, DELETE /admin/wire | faults of the wire (`wgtwo.sandbox.wire`) |
-- | GET, POST /admin/snapshot | everything; back to what a GET gave |
-- | POST /admin/reset | back to the beginning |
--
-- What changes something takes `Content-Type: application/json`, so that no page in a browser can send it from
-- elsewhere. A failure is `{error, error_description}` with status 400, 404, 409 or 415; a name that is not known, in
-- the body or in the query, is one.
--
-- @module wgtwo.sandbox.admin

local clock = require "wgtwo.sandbox.clock"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local faults = require "wgtwo.sandbox.faults"
local identity = require "wgtwo.sandbox.identity"
local kinds = require "wgtwo.sandbox.kinds"
local limits = require "wgtwo.limits"
local lookup = require "wgtwo.sandbox.lookup"
local numbers = require "wgtwo.sandbox.numbers"
local options = require "wgtwo.options"
local snapshot = require "wgtwo.sandbox.snapshot"
local status = require "wgtwo.sandbox.status"
local wire = require "wgtwo.sandbox.wire"

local admin = {}

local text = { type = "string" }
local e164 = { type = "string", check = function(number)
  return numbers.is_e164(number), "not in E.164 form, such as +4799990001"
end }
local integer = { type = "string", check = function(value)
  local number = math.tointeger(tonumber(value))
  return number ~= nil and number >= 0, "an integer is needed, 0 or more"
end }
local event_type = { type = "string", check = function(name)
  local kind, wrong = kinds.get(name)
  return kind ~= nil, wrong
end }

-- What the requests take: queries (words), and bodies. The others take nothing, or are checked where they are used.
local queries = {
  ["GET /admin/events"] = { type = event_type, after = integer, limit = integer },
  ["GET /admin/streams"] = { method = text, client = text },
  ["DELETE /admin/streams"] = { method = text, client = text, code = text },
  ["GET /admin/journal"] = { method = text, client = text, after = integer, limit = integer },
}
local bodies = {
  ["POST /admin/events"] = {
    type = { type = "string", required = true }, number = e164, client = text, payload = { type = "table" },
  },
  ["POST /admin/clock"] = {
    advance = { type = "number", required = true, min = 0, max = limits.timeout_max, unit = "seconds" },
  },
  ["POST /admin/numbers"] = { client = text, numbers = { type = "list", required = true } },
  ["POST /admin/generate"] = { plans = { type = "table", required = true } },
  ["POST /admin/keys"] = {},
  ["POST /admin/lookups"] = { number = e164, recipient = e164 },
  ["POST /admin/wire"] = wire.spec,
  ["POST /admin/reset"] = {},
}

local function failed(code, description)
  return code, { error = "invalid_request", error_description = description }
end

--- The payload of a publish request: proto3's JSON, so that times and bytes can be said.
local function read_payload(kind, given)
  if given == nil then return nil end
  local message, problem = core.fromjson(kind.payload, core.json_encode(given))
  if not message then return nil, problem end
  return core.totable(message)
end

local function publish(sandbox, given)
  local kind, wrong = kinds.get(given.type)
  if not kind then return failed(400, wrong) end
  if given.client ~= nil and not sandbox.tokens.clients[given.client] then
    return failed(400, "client: there is none with this id")
  end
  local payload, problem = read_payload(kind, given.payload)
  if problem then return failed(400, "payload: " .. problem) end
  local event
  event, problem = sandbox:publish_event{ kind = kind.name, number = given.number, client = given.client,
    payload = payload }
  if not event then return failed(400, "payload: " .. problem) end
  return 200, { id = event.id }
end

local function describe_event(event)
  local records, deliveries, acks = {}, 0, 0
  local record = event.newest_record
  while record do
    local sub, acked = record.subscription, record.acked == true
    records[#records + 1] = { subscription = sub.name, subscription_id = sub.id, client = sub.client,
      deliveries = record.deliveries, acked = acked }
    deliveries = deliveries + record.deliveries
    if acked then acks = acks + 1 end
    record = record.older
  end
  table.sort(records, function(a, b) return a.subscription_id < b.subscription_id end)
  return { id = event.id, type = event.kind.name, api = event.kind.api, number = event.number, client = event.client,
    time = clock.format(event.at), payload = snapshot.payload(event), deliveries = deliveries, acks = acks,
    subscriptions = core.json_array(records) }
end

local function list_events(sandbox, query)
  local list, log = {}, sandbox.log
  for id = math.max(log:oldest(), (tonumber(query.after) or 0) + 1), log.last do
    local event = log:get(id)
    if not query.type or event.kind.name == query.type then list[#list + 1] = describe_event(event) end
  end
  local limit = tonumber(query.limit)
  if limit then list = { table.unpack(list, math.max(1, #list - limit + 1)) } end
  return 200, { events = core.json_array(list), first = log.first, last = log.last }
end

local function describe_stream(exchange)
  local sub = exchange.subscription
  local described = { id = exchange.entry.id, method = exchange.method.name, client = exchange.client,
    peer = exchange.entry.peer, since = clock.format(exchange.entry.at), sent = exchange.entry.sent_count,
    received = exchange.entry.received_count }
  if sub then
    local names = {}
    for name in pairs(sub.kinds) do names[#names + 1] = name end
    table.sort(names)
    described.subscription, described.subscription_id, described.types = sub.name, sub.id, names
    described.members, described.backlog, described.counts = #sub.members, sub:backlog(), sub.counts
    for _, member in ipairs(sub.members) do
      if member.exchange == exchange then described.in_flight = member.in_flight end
    end
  end
  return described
end

local function open_streams(sandbox, query)
  local found = {}
  for _, exchange in pairs(sandbox.calls.open) do
    if exchange.method.kind ~= "unary"
        and (not query.method or exchange.method.name:sub(-#query.method) == query.method)
        and (not query.client or exchange.client == query.client) then
      found[#found + 1] = exchange
    end
  end
  table.sort(found, function(a, b) return a.entry.id < b.entry.id end)
  return found
end

local function list_streams(sandbox, query)
  local list = {}
  for _, exchange in ipairs(open_streams(sandbox, query)) do
    if exchange:is_handled() then list[#list + 1] = describe_stream(exchange) end
  end
  return 200, { streams = core.json_array(list) }
end

local function end_streams(sandbox, query)
  local code = query.code or "OK"
  if not errors.number(code) then return failed(400, "code: there is no gRPC status " .. code) end
  local found = open_streams(sandbox, query)
  for _, exchange in ipairs(found) do exchange:finish(status.new(code, code == "OK" and "" or "ended on command")) end
  return 200, { ended = #found }
end

local function set_fault(sandbox, given)
  local fault, wrong = faults.check(given)
  if not fault then return failed(400, wrong) end
  if fault.client and fault.client ~= "" and not sandbox.tokens.clients[fault.client] then
    return failed(400, "fault: client: there is none with this id")
  end
  return 200, { id = sandbox.faults:add(fault) }
end

local function advance(sandbox, given)
  local time, problem = sandbox.clock:advance(given.advance)
  if not time then return failed(409, problem) end
  return 200, { time = time }
end

local function set_numbers(sandbox, given)
  local list, client = given.numbers, given.client or ""
  if #list == 0 then return failed(400, "numbers: a list with at least one is needed") end
  for _, number in ipairs(list) do
    if type(number) ~= "string" or not numbers.is_e164(number) then
      return failed(400, "numbers: not in E.164 form, such as +4799990001: " .. tostring(number))
    end
  end
  if client ~= "" and not sandbox.tokens.clients[client] then
    return failed(400, "client: there is none with this id")
  end
  sandbox.pools[client] = list
  return 200, { client = client, numbers = list }
end

local function generate(sandbox, given)
  local settings = require "wgtwo.sandbox.settings"
  local asked = { generate = given.plans, clients = sandbox.settings.clients }
  local ok, checked = pcall(settings.check, "generate", asked)
  if not ok then return failed(400, (checked:gsub("^.-: generate: ", ""))) end
  sandbox:generate(checked.generate)
  return 200, { plans = #checked.generate }
end

local function ask_lookup(sandbox, given)
  local id, problem = lookup.ask(sandbox, given.number, given.recipient)
  if not id then return failed(409, problem) end
  return 200, { id = id }
end

local function restore(sandbox, given)
  local ok, problem = snapshot.restore(sandbox, given)
  if not ok then return failed(400, problem) end
  return 200, {}
end

--- What a request changes something with: the body as a table, or nil and an answer.
local function read_body(request)
  local kind = request:header("Content-Type") or ""
  if not kind:lower():find("^application/json") then
    return nil, { failed(415, "Content-Type: application/json is needed") }
  end
  local body = request:body()
  if body == "" then return {} end
  local given, problem = core.json_decode(body)
  if type(given) ~= "table" then
    return nil, { failed(400, "the body is no JSON object" .. (problem and ": " .. problem or "")) }
  end
  return given
end

--- The function of a route that is called with checked words only.
local function checked(route, spec, f)
  if not spec then return f end
  return function(sandbox, given, rest)
    local ok, result = pcall(options.check, route, given, spec, -1)
    if not ok then return failed(400, result) end
    return f(sandbox, result, rest)
  end
end

--- Adds the API.
-- @tparam table sandbox the server
function admin.register(sandbox)
  local http = sandbox.http
  local function get(path, f)
    f = checked("GET " .. path, queries["GET " .. path] or {}, f)
    http:on("GET", path, function(request) return f(sandbox, request:query()) end)
  end
  local function post(path, f)
    f = checked("POST " .. path, bodies["POST " .. path], f)
    http:on("POST", path, function(request)
      local given, refusal = read_body(request)
      if not given then return table.unpack(refusal) end
      return f(sandbox, given)
    end)
  end
  local function delete(path, f)
    f = checked("DELETE " .. path, queries["DELETE " .. path] or {}, f)
    http:on("DELETE", path, function(request, rest) return f(sandbox, request:query(), rest) end)
  end

  get("/", function() return 200, sandbox:describe() end)
  get("/admin/events", list_events)
  post("/admin/events", publish)
  get("/admin/kinds", function() return 200, { kinds = kinds.names() } end)
  get("/admin/streams", list_streams)
  delete("/admin/streams", end_streams)
  get("/admin/faults", function() return 200, { faults = core.json_array(sandbox.faults:describe()) } end)
  post("/admin/faults", set_fault)
  delete("/admin/faults", function() sandbox.faults:clear() return 200, {} end)
  delete("/admin/faults/", function(_, _, id)
    if sandbox.faults:remove(math.tointeger(tonumber(id))) then return 200, {} end
    return failed(404, "there is no fault " .. id)
  end)
  get("/admin/clock", function()
    local now = sandbox.clock:now()
    return 200, { time = now, text = clock.format(now), virtual = sandbox.clock.virtual }
  end)
  post("/admin/clock", advance)
  get("/admin/numbers", function() return 200, { pools = sandbox.pools } end)
  post("/admin/numbers", set_numbers)
  post("/admin/generate", generate)
  get("/admin/journal", function(_, query)
    return 200, { calls = sandbox.journal:list{ method = query.method, client = query.client,
      after = tonumber(query.after), limit = tonumber(query.limit) } }
  end)
  delete("/admin/journal", function() sandbox.journal:clear() return 200, {} end)
  delete("/admin/tokens", function() sandbox.tokens:revoke_all() return 200, {} end)
  post("/admin/keys", function() identity.rotate(sandbox) return 200, {} end)
  get("/admin/lookups", function() return 200, { lookups = core.json_array(sandbox.lookups) } end)
  post("/admin/lookups", ask_lookup)
  get("/admin/wire", wire.describe)
  post("/admin/wire", wire.set)
  delete("/admin/wire", wire.clear)
  get("/admin/snapshot", function() return 200, snapshot.take(sandbox) end)
  post("/admin/snapshot", restore)
  post("/admin/reset", function() sandbox:reset() return 200, {} end)
end

return admin
