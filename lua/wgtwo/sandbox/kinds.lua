--- The kinds of events: v0's types and v1's streams, under one roof.
--
-- A kind has `name` ("SMS_EVENT", "handset_change"), `api` ("v0", "v1"), `field` (of the message that carries it),
-- `payload` (the type of its own message), `carrier` (the type that has the field), `scope`.
--
-- @module wgtwo.sandbox.kinds

local limits = require "wgtwo.limits"
local options = require "wgtwo.options"
local schema = require "wgtwo.schema"

local kinds = {}

local by_name = {}

local function payload_type(carrier, field)
  for _, found in ipairs(schema.describe(carrier).fields) do
    if found.name == field then return found.type_name, found.number end
  end
  error(("%s has no field %s"):format(carrier, field))
end

local function add(name, api, carrier, field, scope)
  local payload, number = payload_type(carrier, field)
  by_name[name] = {
    name = name, api = api, field = field, scope = scope, number = number,
    carrier_name = carrier, carrier = schema.type(carrier), payload_name = payload, payload = schema.type(payload),
  }
end

for name, field in pairs(limits.events_v0.fields) do
  add(name, "v0", "wgtwo.events.v0.Event", field, limits.v0_scope(name))
end
for name, stream in pairs(limits.events_v1.streams) do
  add(name, "v1", schema.describe(stream.stream).output_type, stream.field, stream.scope)
  by_name[name].stream, by_name[name].ack = stream.stream, stream.ack
end

--- The kind of a name.
-- @tparam string name
-- @treturn ?table
-- @treturn ?string what is wrong with the name
function kinds.get(name)
  local kind = by_name[name]
  if kind then return kind end
  return nil, ('there is no event type "%s"%s'):format(tostring(name), options.suggestion(tostring(name), by_name))
end

--- The names of all kinds, sorted.
-- @treturn table
function kinds.names()
  local names = {}
  for name in pairs(by_name) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- v1's kinds, sorted by name.
-- @treturn table
function kinds.v1()
  local list = {}
  for _, name in ipairs(kinds.names()) do
    if by_name[name].api == "v1" then list[#list + 1] = by_name[name] end
  end
  return list
end

return kinds
