--- What a value of an SMS request must be. Each check gives nil for a good value, else what is wrong with it.
--
-- The numbers are the platform's (`wgtwo.limits`). What the platform does not document is left to it.
--
-- @module wgtwo.sms.checks

local gsm7 = require "wgtwo.sms.gsm7"
local limits = require "wgtwo.limits"

local checks = {}

local sms = limits.sms

local function is_e164(value)
  local digits = value:match("^%+([1-9]%d*)$")
  return digits and #digits >= sms.e164_digits.min and #digits <= sms.e164_digits.max
end

local function is_short_number(value)
  return value:find("^%d+$") and #value <= sms.e164_digits.max
end

--- Letters, digits, spaces; at least one letter. Bytes of other alphabets count as letters.
local function is_text_address(value)
  return utf8.len(value) and value:find("^[%w \128-\255]+$") and value:find("[%a\128-\255]")
end

local function not_text(value)
  if type(value) ~= "string" then return ("must be a text, not %s"):format(type(value)) end
end

--- A text to send: 1 to 2000 characters, where one outside the BMP counts 2.
-- @tparam any value
-- @treturn ?string
-- @usage checks.content("") --> "must not be empty"
function checks.content(value)
  local wrong = not_text(value)
  if wrong then return wrong end
  if value == "" then return "must not be empty" end
  if value:find("\0", 1, true) then return "must not have a zero byte" end
  local size = gsm7.measure(value)
  if not size then return "must be valid UTF-8" end
  if size.characters > sms.text_max then
    return ("must have at most %d characters, not %d"):format(sms.text_max, size.characters)
  end
end

--- Data to send: 1 to 2000 bytes.
-- @tparam any value
-- @treturn ?string
function checks.data(value)
  local wrong = not_text(value)
  if wrong then return wrong end
  if value == "" then return "must not be empty" end
  if #value > sms.data_max then return ("must have at most %d bytes, not %d"):format(sms.data_max, #value) end
end

--- A subscriber: a number in E.164 form.
-- @tparam any value
-- @treturn ?string
function checks.subscriber(value)
  local wrong = not_text(value)
  if wrong then return wrong end
  if not is_e164(value) then
    return ('must be a number with "+" and country code, such as +4799990001, not "%s"'):format(value)
  end
end

--- A receiver: a number in E.164 form, or a short number.
-- @tparam any value
-- @treturn ?string
function checks.receiver(value)
  local wrong = not_text(value)
  if wrong then return wrong end
  if not is_e164(value) and not is_short_number(value) then
    return ('must be a number such as +4799990001, or a short number, not "%s"'):format(value)
  end
end

--- A sender: a number in E.164 form, a short number, or a text.
-- @tparam any value
-- @treturn ?string
function checks.sender(value)
  local wrong = not_text(value)
  if wrong then return wrong end
  if not is_e164(value) and not is_short_number(value) and not is_text_address(value) then
    return ('must be a number such as +4799990001, a short number, or letters, digits and spaces with a letter among '
      .. 'them, not "%s"'):format(value)
  end
end

--- A sender that is a text.
-- @tparam any value
-- @treturn ?string
function checks.text_address(value)
  local wrong = not_text(value)
  if wrong then return wrong end
  if not is_text_address(value) then
    return ('must be letters, digits and spaces with a letter among them, not "%s"'):format(value)
  end
end

--- A short number.
-- @tparam any value
-- @treturn ?string
function checks.short_number(value)
  local wrong = not_text(value)
  if wrong then return wrong end
  if not is_short_number(value) then return ('must be a short number, digits only, not "%s"'):format(value) end
end

--- Seconds of a duration in any form that a request takes; nil for something else.
local function seconds(value)
  if type(value) == "number" then return value end
  if type(value) == "string" then return tonumber(value:match("^(%-?[%d.]+)s$")) end
  local ok, whole, nanos = pcall(function() return value.seconds or 0, value.nanos or 0 end)
  if ok and type(whole) == "number" and type(nanos) == "number" then return whole + nanos * 1e-9 end
end

--- How long to try to deliver: more than 0, at most 7 days.
-- @tparam any value seconds, { seconds =, nanos = }, or a text such as "90s"
-- @treturn ?string
function checks.deadline(value)
  local length = seconds(value)
  if not length then return "must be a number of seconds" end
  if not (length > 0 and length <= sms.deadline_max) then
    return ("must be more than 0 and at most %d seconds (7 days), not %s"):format(sms.deadline_max, tostring(length))
  end
end

local function port_field(name, ports, names)
  for _, field in ipairs(names) do
    local ok, port = pcall(function() return ports[field] end)
    if not ok then return "must be a table with " .. table.concat(names, " and ") end
    if port ~= nil and (math.type(port) ~= "integer" or port < 0 or port > 0xFFFF) then
      return ("%s: %s must be an integer from 0 to 65535"):format(name, field)
    end
  end
end

--- Application ports of v1.
-- @tparam any value
-- @treturn ?string
function checks.ports(value)
  return port_field("ports", value, { "originator_port", "destination_port" })
end

--- Application ports of v0.
-- @tparam any value
-- @treturn ?string
function checks.ports_v0(value)
  return port_field("ports", value, { "originatorPort", "destinationPort" })
end

return checks
