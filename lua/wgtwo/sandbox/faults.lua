--- Faults of calls and of the token endpoint, on command.
--
-- A fault says which calls it strikes (`method`, `client`, `nth`, `probability`, `count`) and what happens to them. The
-- first fault that is set and matches strikes, alone. What strikes is decided when the call arrives, from the seed.
-- A fault that says nothing of what happens is refused, and so is what has no effect on the method that it names. One
-- for any method may say what only some have; it neither strikes nor counts where it has no effect.
--
-- | field | meaning |
-- |---|---|
-- | `method` | a method's name or ending, with or without a leading `…/`; "*" or nothing: all |
-- | `client` | an OAuth client's id |
-- | `nth` | only the nth call that matches, counted from when the fault was set; it is gone then, also with `count` |
-- | `probability` | 0 to 1 |
-- | `count` | how many calls it strikes; nothing: all |
-- | `code`, `message`, `details` | a gRPC status; "OK" with `after` is an early clean end |
-- | `retry_after` | seconds: RetryInfo, with RESOURCE_EXHAUSTED where there is no `code` |
-- | `after` | of a stream: how many messages pass before a status, `reset`, `invalid` or `oversized` |
-- | `delay` | seconds, or {shortest, longest}, before the call is handled, on the sandbox's clock |
-- | `hang` | the call is never handled |
-- | `reset` | the call ends at once: RST_STREAM, before which gRPC's server itself says UNAVAILABLE, "stream reset" |
-- | `applied` | of a unary call: it is handled, and answered with `code` (UNAVAILABLE): a lost acknowledgement |
-- | `ack_status` | of v1's acks: "STATUS_CODE_FAILURE" instead of handling |
-- | `oversized` | bytes by which a reply is made larger |
-- | `invalid` | a reply that is no protobuf |
-- | `duplicate`, `reorder` | of a stream: every message twice; every two messages swapped |
--
-- With `endpoint = "token"` it strikes token requests: `status`, `error`, `body`, `content_type`, `cut` (bytes of the
-- body that arrive, of all that the answer announces, before the connection ends), `expires_in` (any JSON value),
-- `delay`, `hang`.
--
-- @module wgtwo.sandbox.faults

local descriptors = require "wgtwo.sandbox.descriptors"
local errors = require "wgtwo.error"
local framing = require "wgtwo.sandbox.framing"
local kinds = require "wgtwo.sandbox.kinds"
local limits = require "wgtwo.limits"
local options = require "wgtwo.options"
local schema = require "wgtwo.schema"
local status = require "wgtwo.sandbox.status"

local Faults = {}
Faults.__index = Faults

local faults = {}

local MAX <const> = limits.timeout_max -- seconds, of any time that a fault says

local function is_delay(value)
  if type(value) == "number" then return value >= 0 and value <= MAX, ("0 to %d seconds"):format(MAX) end
  local low, high = value[1], value[2]
  return #value == 2 and type(low) == "number" and type(high) == "number" and low >= 0 and low <= high and high <= MAX,
    ("{shortest, longest} in seconds, at most %d"):format(MAX)
end

local function is_header(value)
  return not value:find("%c"), "a header takes no control characters"
end

local common = {
  client = { type = "string" },
  nth = { type = "integer", min = 1 },
  probability = { type = "number", min = 0, max = 1 },
  count = { type = "integer", min = 1 },
  delay = { type = { "number", "table" }, check = is_delay },
  hang = { type = "boolean" },
}

local function with_common(fields)
  for name, rule in pairs(common) do fields[name] = rule end
  return fields
end

local call_spec = with_common{
  method = { type = "string", nonempty = true },
  code = { type = "string", check = function(name)
    return errors.number(name) ~= nil, ("a gRPC status name such as UNAVAILABLE is needed, not %q"):format(name)
  end },
  message = { type = "string" },
  details = { type = "list", of = { type = "table" } },
  retry_after = { type = "number", min = 0, max = MAX, unit = "seconds" },
  after = { type = "integer", min = 0 },
  reset = { type = "boolean" },
  applied = { type = "boolean" },
  ack_status = { type = "string", one_of = { "STATUS_CODE_FAILURE", "STATUS_CODE_UNSPECIFIED" } },
  oversized = { type = "integer", min = 1, max = 64 * 1024 * 1024 },
  invalid = { type = "boolean" },
  duplicate = { type = "boolean" },
  reorder = { type = "boolean" },
}

local token_spec = with_common{
  endpoint = { type = "string", one_of = { "token" } },
  status = { type = "integer", min = 200, max = 599 }, -- the lower ones are no answers yet
  error = { type = "string" },
  body = { type = "string" },
  content_type = { type = "string", check = is_header },
  cut = { type = "integer", min = 0, max = 0x7FFFFFFF },
  expires_in = { type = "any" },
}

--- What a fault may say.
faults.call_spec, faults.token_spec = call_spec, token_spec

--- The ending of a method's name that a pattern stands for, in the form pkg.Service/Method.
local function ending_of(pattern)
  return (pattern:gsub("^…", ""):gsub("^%.%.%.", ""):gsub("^%*", ""))
end

local function fits(pattern, name)
  if pattern == nil or pattern == "*" then return true end
  local ending = ending_of(pattern)
  if ending == name or name:sub(-#ending) == ending then return true end
  return (name:gsub("/", ".")):sub(-#ending) == ending
end

--- The methods that fit a pattern.
local function methods_of(pattern)
  local all, found = schema.methods(), {}
  all[#all + 1] = descriptors.method("grpc.health.v1.Health/Check")
  for _, method in ipairs(all) do
    if fits(pattern, method.name) then found[#found + 1] = method end
  end
  return found
end

-- What a fault has an effect on ---------------------------------------------------------------------------------------

-- What happens to a call, or to a token request: each is enough alone.
local call_effects <const> = { "code", "retry_after", "delay", "hang", "reset", "applied", "ack_status", "oversized",
  "invalid", "duplicate", "reorder" }
local token_effects <const> = { "status", "error", "body", "content_type", "cut", "expires_in", "delay", "hang" }

-- What goes with something else, with one of which.
local status_from <const> = { "code", "retry_after", "applied" }
local goes_with <const> = {
  { "message", status_from }, { "details", status_from },
  { "after", { "code", "retry_after", "reset", "invalid", "oversized" } },
}

local function is_unary(method) return method.kind == "unary" end
local function is_stream(method) return method.kind ~= "unary" end

local acks = {} -- the names of v1's acknowledgements, as a set
for _, kind in ipairs(kinds.v1()) do acks[kind.ack] = true end

local function has_ack_status(method) return acks[method.name] end

-- What only some methods have.
local only_of <const> = {
  { "applied", is_unary, "unary methods" }, { "ack_status", has_ack_status, "the acknowledgements of v1's events" },
  { "after", is_stream, "streams" }, { "duplicate", is_stream, "streams" }, { "reorder", is_stream, "streams" },
}

local function says_any(fault, names)
  for _, name in ipairs(names) do
    if fault[name] ~= nil then return true end
  end
  return false
end

local function any(list, test)
  for _, item in ipairs(list) do
    if test(item) then return true end
  end
  return false
end

local function listed(names)
  return table.concat(names, ", ", 1, #names - 1) .. " or " .. names[#names]
end

--- What is said as if it were not: nothing is left of it.
local function drop_idle(fault)
  for _, name in ipairs{ "hang", "reset", "applied", "invalid", "duplicate", "reorder" } do
    if fault[name] == false then fault[name] = nil end
  end
  if fault.after == 0 then fault.after = nil end
end

--- What has no effect in a fault, and why.
local function find_idle(fault)
  local effects = fault.endpoint and token_effects or call_effects
  if not says_any(fault, effects) then
    return ("it says nothing of what happens: %s is needed"):format(listed(effects))
  end
  for _, rule in ipairs(goes_with) do
    local name, others = rule[1], rule[2]
    if fault[name] and not says_any(fault, others) then
      return ("%s has no effect alone: %s is needed with it"):format(name, listed(others))
    end
  end
  local pattern = fault.method
  if not pattern or pattern == "*" then return nil end
  local methods = methods_of(pattern)
  if #methods == 0 then return ("no method is named, or ends with, %q"):format(pattern) end
  for _, rule in ipairs(only_of) do
    local name, test, what = rule[1], rule[2], rule[3]
    if fault[name] and not any(methods, test) then
      return ("%s is of %s alone, and has no effect on %q: leave it out, or name another method"):format(name, what,
        pattern)
    end
  end
end

--- Whether a fault has an effect on a method.
local function affects(fault, method)
  if fault.delay or fault.hang or fault.oversized or fault.invalid then return true end
  local ends, after = fault.code or fault.retry_after or fault.reset, fault.after and fault.after > 0
  if is_unary(method) then
    return fault.applied or fault.ack_status and has_ack_status(method) or ends and not after
  end
  return fault.duplicate or fault.reorder or fault.reset or ends and (after or not fault.applied)
end

--- Checks a fault as somebody wrote it.
-- @tparam table given
-- @treturn ?table a copy
-- @treturn ?string what is wrong with it
function faults.check(given)
  local ok, checked = pcall(options.check, "fault", given, given.endpoint and token_spec or call_spec)
  if not ok then return nil, (checked:gsub("^.-: fault: ", "fault: ")) end
  if checked.details then
    local wrong = status.check_details(checked.details)
    if wrong then return nil, "fault: details: " .. wrong end
  end
  drop_idle(checked)
  local idle = find_idle(checked)
  if idle then return nil, "fault: " .. idle end
  return checked
end

--- No faults.
-- @tparam table generator for probabilities and delays
-- @treturn table
function faults.new(generator)
  return setmetatable({ list = {}, serial = 0, random = generator }, Faults)
end

--- Sets a fault that `check` has passed.
-- @treturn int its id
function Faults:add(fault)
  self.serial = self.serial + 1
  table.insert(self.list, { id = self.serial, fault = fault, seen = 0, struck = 0 })
  return self.serial
end

--- Takes a fault back.
-- @treturn boolean whether there was one
function Faults:remove(id)
  for index, item in ipairs(self.list) do
    if item.id == id then
      table.remove(self.list, index)
      return true
    end
  end
  return false
end

--- Takes all back.
function Faults:clear()
  self.list = {}
end

--- What is set: a list of faults, each with `id`, `seen` (calls that matched) and `struck`.
function Faults:describe()
  local list = {}
  for i, item in ipairs(self.list) do
    local shown = { id = item.id, seen = item.seen, struck = item.struck }
    for name, value in pairs(item.fault) do shown[name] = value end
    list[i] = shown
  end
  return list
end

--- Puts back what `describe` gave: ids and counts go on.
-- @tparam table list
function Faults:restore(list)
  for _, fault in ipairs(list) do
    local item = { id = math.tointeger(fault.id), fault = fault, seen = fault.seen, struck = fault.struck }
    fault.id, fault.seen, fault.struck = nil, nil, nil
    table.insert(self.list, item)
    self.serial = math.max(self.serial, item.id)
  end
end

-- What strikes a call -------------------------------------------------------------------------------------------------

local Strike = {}

--- Looks for the fault that strikes, and counts.
local function find(self, matches)
  local list, index = self.list, 1
  while list[index] do
    local item = list[index]
    local fault = item.fault
    index = index + 1
    if matches(fault) then
      item.seen = item.seen + 1
      local strikes = (not fault.nth or item.seen == fault.nth)
        and (not fault.probability or self.random:float() < fault.probability)
      if strikes then item.struck = item.struck + 1 end
      if item.seen == fault.nth or item.struck == fault.count then -- it can strike no more
        index = index - 1
        table.remove(list, index)
      end
      if strikes then return fault end
    end
  end
end

local function delay_of(self, fault)
  local delay = fault.delay
  if type(delay) ~= "table" then return delay end
  return delay[1] + self.random:float() * (delay[2] - delay[1])
end

--- The fault that strikes a call.
-- @tparam table method
-- @tparam ?string client
-- @treturn ?table for the exchange
function Faults:strike_call(method, client)
  if not self.list[1] then return nil end
  local fault = find(self, function(fault)
    return not fault.endpoint and (not fault.client or fault.client == client) and fits(fault.method, method.name)
      and affects(fault, method)
  end)
  if not fault then return nil end
  local strike = setmetatable({ pending_delay = delay_of(self, fault), sent = 0 }, Strike)
  for key, value in pairs(fault) do strike[key] = value end
  strike.after = fault.after or 0
  strike.code = fault.code or fault.retry_after and "RESOURCE_EXHAUSTED"
    or fault.applied and is_unary(method) and "UNAVAILABLE" or nil
  return strike
end

--- The fault that strikes a token request.
-- @tparam ?string client
-- @treturn ?table the fault
-- @treturn ?number its delay
function Faults:strike_token(client)
  if not self.list[1] then return nil end
  local fault = find(self, function(fault)
    return fault.endpoint == "token" and (not fault.client or fault.client == client)
  end)
  return fault, fault and delay_of(self, fault)
end

Strike.__index = Strike

--- The delay before the call is handled, once.
function Strike:take_delay()
  local delay = self.pending_delay
  self.pending_delay = nil
  return delay
end

--- The status that this fault answers with.
function Strike:status()
  if not self.retry_after then return status.new(self.code, self.message or "fault", self.details) end
  local limited = status.rate_limited(self.retry_after)
  local details = table.move(self.details or {}, 1, #(self.details or {}), 2, { limited.details[1] })
  return status.new(self.code, self.message or limited.message, details)
end

--- Makes a reply wrong.
-- @tparam string bytes
-- @treturn string
function Strike:spoil(bytes)
  if self.invalid then return framing.INVALID end
  return self.oversized and bytes .. framing.padding(self.oversized) or bytes
end

--- Ends the stream, after the present delivery is accounted for.
local function end_stream(self, exchange)
  exchange:after(0, function()
    if self.reset then
      exchange.call:reset()
    else
      exchange:finish(self:status())
    end
  end)
end

--- Sends a message as often as it is to come.
-- @treturn boolean whether there was room, for the first
local function pass(self, exchange, bytes)
  local sent = exchange:transmit(bytes)
  if sent and self.duplicate then exchange:transmit(bytes) end
  return sent
end

--- Sends one message of a stream, or what becomes of it.
-- @treturn boolean as exchange:send
function Strike:send(exchange, bytes)
  if self.over then return true end -- it is lost with the stream
  local count = self.sent + 1
  local is_last = count == self.after and (self.code or self.reset)
  if count == self.after + 1 then bytes = self:spoil(bytes) end
  if self.reorder and not self.held and not is_last then
    self.held, self.sent = bytes, count
    return true
  end
  if not pass(self, exchange, bytes) then return false end
  self.sent = count
  if self.held and pass(self, exchange, self.held) then self.held = nil end
  if is_last then
    self.over = true
    end_stream(self, exchange)
  end
  return true
end

return faults
