--- What an event says where its publisher did not: valid, plausible, and decided by the number and a generator alone.
--
-- A payload is a table by proto field names. What the publisher gave replaces the default field by field; of a oneof,
-- the publisher's member replaces whichever the default has.
--
-- @module wgtwo.sandbox.payloads

local numbers = require "wgtwo.sandbox.numbers"
local schema = require "wgtwo.schema"

local payloads = {}

local countries = {
  { code = "NO", name = "Norway" }, { code = "SE", name = "Sweden" }, { code = "DK", name = "Denmark" },
  { code = "DE", name = "Germany" }, { code = "US", name = "United States" }, { code = "JP", name = "Japan" },
}

local texts = { "Hello", "On my way", "See you at 8", "Your code is 123456", "Grüße aus Oslo", "OK 👍" }

local scopes = { "sms.text:send_to_subscriber", "subscription.handset_details:read" }

local function e164(number) return { e164 = number } end

--- Somebody who is no subscriber.
local function stranger(r) return "+46700" .. r:digits(6) end

local function handset(r)
  return { imei_sv = { imei = "35" .. r:digits(12), software_version = r:digits(2) } }
end

local function two_countries(r)
  local first = r:integer(1, #countries)
  return countries[first], countries[first % #countries + 1]
end

local function location(r)
  return { msc = { value = "479" .. r:digits(7) }, vlr = { value = "479" .. r:digits(7) } }
end

local makers = {
  VOICE_EVENT = function(number, r)
    return { call_id = r:uuid(), type = "CALL_INITIATED", from_number = e164(stranger(r)), to_number = e164(number) }
  end,
  VOICEMAIL_EVENT = function(number, r)
    return { voicemail_id = r:uuid(), type = "NEW_VOICEMAIL", from_number = e164(stranger(r)),
      to_number = e164(number) }
  end,
  LOCATION_UPDATE_EVENT = function(number, r)
    return { number = e164(number), previous = location(r), current = location(r) }
  end,
  COUNTRY_CHANGE_EVENT = function(number, r)
    local previous, current = two_countries(r)
    return { msisdn = e164(number), previous = previous, current = current }
  end,
  TOKEN_AUDIT_EVENT = function(_, r)
    local new = { client_id = r:uuid(), name = "Sandbox product", rights = { scopes[1] } }
    return { operation = "CREATED", operator_token = { new = new } }
  end,
  SMS_EVENT = function(number, r)
    return { id = r:uuid(), uuid = r:uuid(), from_e164 = e164(stranger(r)), to_e164 = e164(number),
      direction = "TO_SUBSCRIBER", text = r:pick(texts) }
  end,
  SMS_DELIVERY_REPORT_EVENT = function(number, r)
    return { id = r:uuid(), from_e164 = e164(stranger(r)), to_e164 = e164(number), direction = "TO_SUBSCRIBER",
      sms_id = r:uuid(), status = "DELIVERED" }
  end,
  CONSENT_REVOKE_EVENT = function(number) return { msisdn = e164(number) } end,
  HANDSET_UPDATE_EVENT = function(number, r)
    return { number = e164(number), imsi = { value = numbers.imsi(number) }, previous = handset(r),
      current = handset(r) }
  end,
  FIRST_ATTACHMENT_EVENT = function(number)
    return { number = e164(number), imsi = { value = numbers.imsi(number) } }
  end,
  PERIODIC_COUNTRY_EVENT = function(number, r)
    return { number = e164(number), imsi = { value = numbers.imsi(number) }, country = r:pick(countries) }
  end,
  consent_change = function(number) return { number = e164(number), added = { scopes = scopes } } end,
}
makers.handset_change = makers.HANDSET_UPDATE_EVENT
makers.first_attachment = makers.FIRST_ATTACHMENT_EVENT
makers.periodic_country = makers.PERIODIC_COUNTRY_EVENT
makers.country_change = function(number, r)
  local previous, current = two_countries(r)
  return { number = e164(number), previous = previous, current = current }
end

local descriptions = {}

--- The fields of a message type by name.
local function fields_of(type_name)
  local fields = descriptions[type_name]
  if fields then return fields end
  fields = {}
  for _, field in ipairs(schema.describe(type_name).fields) do fields[field.name] = field end
  descriptions[type_name] = fields
  return fields
end

--- Lays what was given over the default, message by message.
local function merge(type_name, default, given)
  local fields, merged, taken = fields_of(type_name), {}, {}
  for name in pairs(given) do
    local field = fields[name]
    if field and field.oneof then taken[field.oneof] = true end
  end
  for name, value in pairs(default) do
    local field = fields[name]
    if not (field.oneof and taken[field.oneof]) then merged[name] = value end
  end
  for name, value in pairs(given) do
    local field, before = fields[name], merged[name]
    local deeper = field and field.type == "message" and field.label ~= "repeated" and type(value) == "table"
      and type(before) == "table"
    merged[name] = deeper and merge(field.type_name, before, value) or value
  end
  return merged
end

--- The payload of an event.
-- @tparam table kind
-- @tparam string number its subscriber
-- @tparam ?table given what its publisher says
-- @tparam table generator
-- @treturn table
function payloads.make(kind, number, given, generator)
  local default = makers[kind.name](number, generator)
  return given and merge(kind.payload_name, default, given) or default
end

--- The payload that is given alone, with nothing of a default.
payloads.merge = merge

--- Where a payload names its subscriber, by kind: the field.
local subject_fields = { "number", "msisdn", "to_number", "to_e164", "from_e164" }

--- The subscriber that a payload is about.
-- @tparam table payload
-- @treturn ?string
function payloads.subject(payload)
  for _, name in ipairs(subject_fields) do
    local value = payload[name]
    if type(value) == "table" and type(value.e164) == "string" then return value.e164 end
  end
end

return payloads
