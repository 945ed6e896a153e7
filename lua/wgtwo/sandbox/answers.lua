--- Answers of the unary methods that have no rules of their own: valid, plausible, and the same for the same request.
--
-- An answer is made from the descriptors. A field that the request has too is echoed; every other gets a value from its
-- name and type, out of a generator that the request's bytes seed. Of a oneof the first member is set; lists have one
-- or two elements; statuses say that all is well. What request and answer call by different names is made to agree
-- after that (`wgtwo.sandbox.agreement`).
--
-- @module wgtwo.sandbox.answers

local agreement = require "wgtwo.sandbox.agreement"
local core = require "wgtwo.core"
local random = require "wgtwo.sandbox.random"
local schema = require "wgtwo.schema"
local clock = require "wgtwo.sandbox.clock"

local answers = {}

local MAX_DEPTH <const> = 6

--- By the ending of a field's name: strings.
local strings = {
  { "e164", function(r) return "+4799" .. r:digits(6) end },
  { "phone_number", function(r) return "+4799" .. r:digits(6) end },
  { "error_message", function() return "" end },
  { "next_page_token", function() return "" end },
  { "imsi", function(r) return "24299" .. r:digits(10) end },
  { "imei", function(r) return "35" .. r:digits(12) end },
  { "iccid", function(r) return "8947" .. r:digits(15) end },
  { "tadig", function() return "NORSB" end },
  { "mcc", function() return "242" end },
  { "mnc", function() return "99" end },
  { "country_initials", function() return "NO" end },
  { "country_name", function() return "Norway" end },
  { "url", function(r) return "https://sandbox.example/" .. r:hex(8) end },
  { "uuid", function(r) return r:uuid() end },
  { "id", function(r) return r:uuid() end },
  { "name", function() return "Sandbox" end },
  { "operator_code", function() return "SBX" end },
  { "routing_code", function(r) return "D" .. r:digits(4) end },
  { "code", function() return "NO" end },
  { "prefix", function(r) return "4799" .. r:digits(2) end },
  { "gt_prefixes", function(r) return "4799" .. r:digits(2) end },
  { "property", function() return "subscription.id:read" end }, -- the name of a scope
  { "realms", function() return "epc.mnc099.mcc242.3gppnetwork.org" end },
  { "description", function() return "An answer of the sandbox" end },
}

--- By the message that a single field `value` stands in.
local values = {
  Imsi = function(r) return "24299" .. r:digits(10) end,
  Iccid = function(r) return "8947" .. r:digits(15) end,
  Tadig = function() return "NORSB" end,
  GlobalTitle = function(r) return "479" .. r:digits(7) end,
  Fqdn = function() return "mme.epc.mnc099.mcc242.3gppnetwork.org" end,
  SubscriptionIdentifier = function(r) return r:uuid() end,
}

--- Lengths of bytes fields, by name (3GPP TS 33.102 for the vector of an authentication).
local sizes = { rand = 16, xres = 8, autn = 16, ck = 16, ik = 16, uuid = 16, dataset_uuid = 16, tenant_uuid = 16 }

--- A second of silence, as a WAV file: 8 kHz, 8 bits, mono.
local function wav()
  local samples = ("\128"):rep(8000)
  return "RIFF" .. ("<I4"):pack(36 + #samples) .. "WAVEfmt " .. ("<I4I2I2I4I4I2I2"):pack(16, 1, 1, 8000, 8000, 1, 8)
    .. "data" .. ("<I4"):pack(#samples) .. samples
end

local function string_value(field, message, r)
  if field.name == "value" then
    local make = values[message.name:match("[^.]*$")]
    if make then return make(r) end
  end
  for _, rule in ipairs(strings) do
    if field.name == rule[1] or field.name:sub(-#rule[1] - 1) == "_" .. rule[1] or field.name == rule[1] .. "s" then
      return rule[2](r)
    end
  end
  return "sandbox-" .. r:hex(8)
end

--- The enum value that says that all is well, else the first that says anything.
local function enum_value(name)
  local list = schema.describe(name).values
  for _, value in ipairs(list) do
    if value.name:find("OK$") or value.name:find("ACCEPTED$") or value.name:find("SUCCESS$") then return value.name end
  end
  return (list[2] or list[1]).name
end

local fill

--- The ends of a range of global titles.
local integers = { start = 4799000000, stop = 4799999999 }

local function scalar(field, message, r)
  local kind = field.type
  if kind == "string" then return string_value(field, message, r) end
  if kind == "bool" then return true end
  if kind == "bytes" then return field.name == "wav" and wav() or r:bytes(sizes[field.name] or 16) end
  if kind == "enum" then return enum_value(field.type_name) end
  if kind == "double" or kind == "float" then return r:integer(1, 100) + 0.0 end
  return integers[field.name] or r:integer(1, 100)
end

local DAY <const> = 86400

local special = {
  ["google.protobuf.Timestamp"] = function(r, field)
    if field.name == "expires" then return clock.EPOCH + r:integer(1, 30) * DAY end
    return clock.EPOCH - r:integer(0, DAY)
  end,
  ["google.protobuf.Duration"] = function(_, field) return field.name == "time_to_live" and 3600 or 30 end,
}

local function value_of(field, message, context, depth)
  if field.type ~= "message" then return scalar(field, message, context.random) end
  local make = special[field.type_name]
  if make then return make(context.random, field) end
  if field.type_name:find("^google%.protobuf%.") then return {} end
  return depth < MAX_DEPTH and fill(field.type_name, context, depth + 1) or nil
end

local function map_value(field, context)
  if field.value_type ~= "string" or field.key_type ~= "string" then return nil end
  return { source = "sandbox-" .. context.random:hex(4) }
end

--- The fields of the request that the answer echoes, by name and type.
local function echo_key(field)
  return ("%s %s %s"):format(field.name, field.type_name or field.type, field.label)
end

--- A message of a type, as a table.
function fill(type_name, context, depth)
  local message, filled, taken = schema.describe(type_name), {}, {}
  for _, field in ipairs(message.fields) do
    local echoed = context.echo[echo_key(field)]
    if field.oneof and taken[field.oneof] then
      goto continue
    end
    if field.oneof then taken[field.oneof] = true end
    if field.map then
      filled[field.name] = map_value(field, context)
    elseif echoed ~= nil then
      filled[field.name] = echoed
    elseif field.label == "repeated" then
      local list = {}
      for i = 1, context.random:integer(1, 2) do list[i] = value_of(field, message, context, depth) end
      filled[field.name] = list
    else
      filled[field.name] = value_of(field, message, context, depth)
    end
    ::continue::
  end
  return filled
end

--- Whether an echoed value says something.
local function is_given(value)
  if value == nil or value == "" or value == 0 or value == false then return false end
  return type(value) ~= "table" or next(value) ~= nil
end

--- What a request says, to be echoed. Pages and filters are not.
local function echo_of(method, request)
  local echo, given = {}, core.totable(request)
  for _, field in ipairs(schema.describe(method.input_type).fields) do
    if not field.map and is_given(given[field.name]) and not field.name:find("^page") then
      echo[echo_key(field)] = given[field.name]
    end
  end
  return echo
end

--- An answer.
-- @tparam table method
-- @tparam message request
-- @treturn table
function answers.make(method, request)
  local context = { random = random.of(method.name .. "\0" .. core.bytes(request)), echo = echo_of(method, request) }
  local reply = fill(method.output_type, context, 0)
  agreement.make(method, reply, core.totable(request))
  return reply
end

--- One message of a type, the same for the same text.
-- @tparam string type_name
-- @tparam string text
-- @treturn table
function answers.element(type_name, text)
  return fill(type_name, { random = random.of(text), echo = {} }, 0)
end

--- Serves every unary method that nothing else serves.
-- @tparam table sandbox the server
function answers.register(sandbox)
  for _, method in ipairs(schema.methods()) do
    if method.kind == "unary" and not sandbox:serves(method.name) then
      sandbox:serve(method.name, { unary = function(_, _, request) return answers.make(method, request) end })
    end
  end
end

return answers
