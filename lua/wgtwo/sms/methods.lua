--- The methods that send SMS, and what each field of their requests must be.
--
-- A field: its name, its check, whether it may be left out, and (v0) `wrap`: the name inside of its message, so that a
-- script may write a text instead. `one_of`: fields of which one is needed.
--
-- @module wgtwo.sms.methods

local checks = require "wgtwo.sms.checks"

local methods = {}

local function field(name, check) return { name = name, check = check } end
local function optional(name, check) return { name = name, check = check, optional = true } end

local content, data = field("content", checks.content), field("content", checks.data)
local deadline = optional("delivery_deadline", checks.deadline)

--- v1, by the name a script uses.
methods.v1 = {
  send_text_to_subscriber = {
    method = "wgtwo.sms.v1.SmsService/SendTextToSubscriber",
    fields = { content, field("to_subscriber", checks.subscriber), field("from_address", checks.sender), deadline },
  },
  send_text_from_subscriber = {
    method = "wgtwo.sms.v1.SmsService/SendTextFromSubscriber",
    fields = { content, field("from_subscriber", checks.subscriber), field("to_address", checks.receiver), deadline },
  },
  send_data_to_subscriber = {
    method = "wgtwo.sms.v1.SmsService/SendDataToSubscriber",
    fields = { data, field("to_subscriber", checks.subscriber), field("from_address", checks.sender), deadline,
      optional("application_port", checks.ports) },
  },
}

local function number(name) return { name = name, check = checks.subscriber, wrap = "e164" } end
local function any_of(...) return { one_of = { ... } } end

local senders = any_of(number("from_e164"),
  { name = "from_text_address", check = checks.text_address, wrap = "text_address" },
  { name = "from_short_number", check = checks.short_number, wrap = "national_phone_number" })
local receivers = any_of(number("to_e164"),
  { name = "to_short_number", check = checks.short_number, wrap = "national_phone_number" })

--- v0, by the name a script uses.
methods.v0 = {
  send_text_to_subscriber = {
    method = "wgtwo.sms.v0.SmsService/SendTextToSubscriber",
    fields = { content, senders, number("to_subscriber") },
  },
  send_text_from_subscriber = {
    method = "wgtwo.sms.v0.SmsService/SendTextFromSubscriber",
    fields = { content, number("from_subscriber"), receivers },
  },
  send_binary_to_subscriber = {
    method = "wgtwo.sms.v0.SmsService/SendBinaryToSubscriber",
    fields = { data, senders, number("to_subscriber"), optional("applicationPort", checks.ports_v0) },
  },
  send_text_to_subscriber_as_operator = {
    method = "wgtwo.sms.v0.SmsService/SendTextToSubscriberAsOperator",
    fields = { content, { name = "from_operator_address", check = checks.text_address, wrap = "text_address" },
      number("to_subscriber") },
  },
  send_text_to_subscriber_as_product = {
    method = "wgtwo.sms.v0.SmsService/SendTextToSubscriberAsProduct",
    fields = { content, { name = "from_product_address", check = checks.text_address, wrap = "text_address" },
      number("to_subscriber") },
  },
}

return methods
