--- Faults of calls and of the token endpoint, on command.
--
-- A fault says which calls it strikes (`method`, `client`, `nth`, `probability`, `count`) and what happens to them. The
-- first fault that is set and matches strikes, alone. What strikes is decided when the call arrives, from the seed.
--
-- | field | meaning |
-- |---|---|
-- | `method` | a method's name or ending, with or without a leading `…/`; "*" or nothing: all |
-- | `client` | an OAuth client's id |
-- | `nth` | only the nth call that matches, counted from when the fault was set |
-- | `probability` | 0 to 1 |
-- | `count` | how many calls it strikes; nothing: all |
-- | `code`, `message`, `details` | a gRPC status; "OK" with `after` is an early clean end |
-- | `retry_after` | seconds: RESOURCE_EXHAUSTED with RetryInfo |
-- | `after` | of a stream: how many messages pass before `code`, `reset`, `invalid` or `oversized` |
-- | `delay` | seconds, or {shortest, longest}, before the call is handled, on the sandbox's clock |
-- | `hang` | the call is never handled |
-- | `reset` | the call ends at once: RST_STREAM, before which gRPC's server itself says UNAVAILABLE, "stream reset" |
-- | `applied` | the call is handled, and answered with `code` (UNAVAILABLE): a lost acknowledgement |
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

local errors = require "wgtwo.error"
local framing = require "wgtwo.sandbox.framing"
local options = require "wgtwo.options"
local schema = require "wgtwo.schema"
local status = require "wgtwo.sandbox.status"

local Faults = {}
Faults.__index = Faults

local faults = {}

local function is_delay(value)
  if type(value) == "number" then return value >= 0, "0 or more seconds" end
  local low, high = value[1], value[2]
  return #value == 2 and type(low) == "number" and type(high) == "number" and low >= 0 and low <= high,
    "{shortest, longest} in seconds"
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
  retry_after = { type = "number", min = 0 },
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
  status = { type = "integer", min = 100, max = 599 },
  error = { type = "string" },
  body = { type = "string" },
  content_type = { type = "string" },
  cut = { type = "integer", min = 0 },
  expires_in = { type = "any" },
}

--- What a fault may say.
faults.call_spec, faults.token_spec = call_spec, token_spec

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
  local method = checked.method
  if method and method ~= "*" and not faults.matches(method) then
    return nil, ("fault: no method is named, or ends with, %q"):format(method)
  end
  return checked
end

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

--- Whether any method fits a pattern.
function faults.matches(pattern)
  for _, method in ipairs(schema.methods()) do
    if fits(pattern, method.name) then return true end
  end
  return fits(pattern, "grpc.health.v1.Health/Check")
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
  for index, item in ipairs(self.list) do
    local fault = item.fault
    if matches(fault) then
      item.seen = item.seen + 1
      if (not fault.nth or item.seen == fault.nth)
          and (not fault.probability or self.random:float() < fault.probability) then
        item.struck = item.struck + 1
        if item.struck == (fault.count or fault.nth and 1) then table.remove(self.list, index) end
        return fault
      end
    end
  end
end

local function delay_of(self, fault)
  local delay = fault.delay
  if type(delay) ~= "table" then return delay end
  return delay[1] + self.random:float() * (delay[2] - delay[1])
end

--- The fault that strikes a call.
-- @tparam string name of the method
-- @tparam ?string client
-- @treturn ?table for the exchange
function Faults:strike_call(name, client)
  if not self.list[1] then return nil end
  local fault = find(self, function(fault)
    return not fault.endpoint and (not fault.client or fault.client == client) and fits(fault.method, name)
  end)
  if not fault then return nil end
  local strike = setmetatable({ pending_delay = delay_of(self, fault), sent = 0 }, Strike)
  for key, value in pairs(fault) do strike[key] = value end
  strike.after = fault.after or 0
  if fault.applied or fault.retry_after then strike.code = fault.code or fault.applied and "UNAVAILABLE" or
    "RESOURCE_EXHAUSTED" end
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
  if self.retry_after and self.code == "RESOURCE_EXHAUSTED" then return status.rate_limited(self.retry_after) end
  return status.new(self.code, self.message or "fault", self.details)
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

--- Sends one message of a stream, or what becomes of it.
-- @treturn boolean as exchange:send
function Strike:send(exchange, bytes)
  if self.over then return true end -- it is lost with the stream
  self.sent = self.sent + 1
  if self.sent == self.after + 1 then bytes = self:spoil(bytes) end
  if self.reorder then
    local held = self.held
    if not held then
      self.held = bytes
      return true
    end
    self.held = nil
    local sent = exchange:transmit(bytes)
    exchange:transmit(held)
    return sent
  end
  local sent = exchange:transmit(bytes)
  if not sent then
    self.sent = self.sent - 1
    return sent
  end
  if self.duplicate then exchange:transmit(bytes) end
  if self.after > 0 and self.sent == self.after and (self.code or self.reset) then
    self.over = true
    end_stream(self, exchange)
  end
  return sent
end

return faults
