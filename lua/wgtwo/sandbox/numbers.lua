--- Phone numbers of the sandbox: who is a subscriber, and which numbers fail on purpose.
--
-- Undocumented by the platform, so chosen here: numbers that begin with one of the subscriber prefixes belong to
-- subscribers (default: +4799, which no Norwegian operator uses for people); numbers that end in 0404 cannot be reached
-- (SMS: REJECT), numbers that end in 0503 fail temporarily (SMS: ERROR).
--
-- @module wgtwo.sandbox.numbers

local limits = require "wgtwo.limits"
local random = require "wgtwo.sandbox.random"

local numbers = {}

numbers.UNREACHABLE = "0404"
numbers.FAILING = "0503"
numbers.SUBSCRIBER_PREFIXES = { "+4799" }

--- The subscribers that fake events are about where nobody gave a pool.
numbers.POOL = { "+4799990001", "+4799990002", "+4799990003", "+4799990004", "+4799990005" }

local digits = limits.sms.e164_digits

--- Whether a text is a number in E.164 form with its leading plus.
-- @tparam string text
-- @treturn boolean
function numbers.is_e164(text)
  local found = text:match("^%+([1-9]%d*)$")
  return found ~= nil and #found >= digits.min and #found <= digits.max
end

--- What a sender may be: E.164, a short number, or a text of letters, digits and spaces with at least one letter.
-- @tparam string text
-- @treturn ?string "e164", "national" or "text"; nil for none of them
function numbers.sender_kind(text)
  if numbers.is_e164(text) then return "e164" end
  if text:match("^%d+$") and #text <= digits.max then return "national" end
  if text:match("^[%w ]+$") and text:find("%a") then return "text" end
end

--- What happens to what is sent to a number.
-- @tparam string text
-- @treturn string "ok", "reject" or "error"
function numbers.fate(text)
  local ending = text:sub(-4)
  if ending == numbers.UNREACHABLE then return "reject" end
  return ending == numbers.FAILING and "error" or "ok"
end

--- Whether a number belongs to a subscriber.
-- @tparam string text
-- @tparam table prefixes
-- @treturn boolean
function numbers.is_subscriber(text, prefixes)
  for _, prefix in ipairs(prefixes) do
    if text:sub(1, #prefix) == prefix then return true end
  end
  return false
end

--- The subscription id that a number has: the same for the same number.
-- @tparam string number
-- @treturn string
-- @function subscription_id
numbers.subscription_id = random.remembered(function(number)
  return random.of("subscription " .. number):uuid()
end)

--- The IMSI that a number has (MCC 242, MNC 99).
-- @tparam string number
-- @treturn string 15 digits
-- @function imsi
numbers.imsi = random.remembered(function(number)
  return "24299" .. random.of("imsi " .. number):digits(10)
end)

return numbers
