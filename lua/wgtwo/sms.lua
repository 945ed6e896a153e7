--- Sending SMS, and how long a text is.
--
--     local reply, err = client.sms:send_text_to_subscriber{
--       content = "Hi", to_subscriber = "+4799990001", from_address = "Shop",
--     }
--     if reply then print(reply.message_id) elseif err.outcome == "unknown" then … it may have been sent … end
--
-- `client.sms` has v1's methods: `send_text_to_subscriber`, `send_text_from_subscriber`, `send_data_to_subscriber`.
-- `client.sms_v0` has v0's: `send_text_to_subscriber`, `send_text_from_subscriber`, `send_binary_to_subscriber`,
-- `send_text_to_subscriber_as_operator`, `send_text_to_subscriber_as_product`; its addresses may be texts.
--
-- A request is checked before it is sent. There is no idempotency key, so nothing here sends twice: a call that failed
-- says in `err.outcome` what became of it: "not_sent" (it did not leave), "rejected" (the server refused it), or
-- "unknown".
--
-- @module wgtwo.sms

local call = require "wgtwo.call"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local gsm7 = require "wgtwo.sms.gsm7"
local methods = require "wgtwo.sms.methods"
local options = require "wgtwo.options"
local schema = require "wgtwo.schema"

local sms = {}

--- How a text would be sent.
-- @tparam string text UTF-8
-- @treturn ?table `encoding` ("GSM-7" or "UCS-2"), `characters` (one outside the BMP counts 2), `fragments`
-- @treturn ?wgtwo.error of kind "sms" where the text is not valid UTF-8
-- @usage wgtwo.sms.fragments("Grüße") --> { encoding = "GSM-7", characters = 5, fragments = 1 }
function sms.fragments(text)
  if type(text) ~= "string" then error("wgtwo.sms.fragments: a text is needed, not " .. type(text), 2) end
  local size = gsm7.measure(text)
  if not size then
    return nil, errors.new{ kind = "sms", code = "INVALID_ARGUMENT", message = "the text must be valid UTF-8" }
  end
  return { encoding = size.encoding, characters = size.characters, fragments = size.fragments }
end

-- Checking

local function bad(name, wrong, method)
  return errors.new{ kind = "sms", code = "INVALID_ARGUMENT", message = name .. ": " .. wrong, field = name,
    method = method.name, outcome = "not_sent", retryable = false }
end

--- The value of an address: a text, or the text inside of its message.
local function inner(value, wrap)
  if type(value) == "string" then return value end
  local ok, text = pcall(function() return value[wrap] end)
  return ok and text or nil
end

--- What is wrong with a field of a request; nil: nothing.
local function check_field(field, request)
  local value = request[field.name]
  if value == nil or value == "" and not field.optional then
    return not field.optional and (value == nil and "is missing" or "must not be empty") or nil
  end
  if field.wrap then
    value = inner(value, field.wrap)
    if value == nil then return ("must be a text, or a table with %s"):format(field.wrap) end
  end
  return field.check(value)
end

--- The name of the first bad field, and what is wrong with it.
local function check_request(fields, request)
  for _, field in ipairs(fields) do
    if field.one_of then
      local names, present = {}, false
      for i, choice in ipairs(field.one_of) do
        names[i] = choice.name
        if request[choice.name] ~= nil then
          present = true
          local wrong = check_field(choice, request)
          if wrong then return choice.name, wrong end
        end
      end
      if not present then return table.concat(names, " or "), "is missing" end
    else
      local wrong = check_field(field, request)
      if wrong then return field.name, wrong end
    end
  end
end

--- The request with texts made messages, where v0 wants messages.
local function wrap_addresses(fields, request)
  if type(request) ~= "table" then return request end
  local copy = {}
  for key, value in pairs(request) do copy[key] = value end
  local function wrap(field)
    local value = copy[field.name]
    if field.wrap and type(value) == "string" then copy[field.name] = { [field.wrap] = value } end
  end
  for _, field in ipairs(fields) do
    for _, choice in ipairs(field.one_of or { field }) do wrap(choice) end
  end
  return copy
end

local empty = {} -- method name → an empty request

--- Raises where a request has a field that its type does not have.
local function check_names(method, request, level)
  if type(request) ~= "table" then return end
  empty[method.name] = empty[method.name] or core.decode(method.input, "")
  for name in pairs(request) do
    local ok, wrong = pcall(core.has, empty[method.name], name)
    if not ok then error((tostring(wrong):gsub("^bad argument #%d+ to '[^']*' %((.*)%)$", "%1")), level + 1) end
  end
end

-- Sending

--- The error of an answer that says no; nil where it says yes.
local function refusal(reply, method, target)
  local code = tostring(reply.status)
  local final = code:find("REJECT", 1, true)
  if not final and not code:find("ERROR", 1, true) then return nil end
  return errors.new{ kind = "sms", code = code, method = method.name, target = target, outcome = "rejected",
    retryable = not final, reply = reply,
    message = reply.description ~= "" and reply.description
      or final and "the SMS was refused" or "the SMS could not be sent at the moment",
    hint = final and "do not send it again" or "it may be sent again" }
end

local function send(client, entry, request, o)
  local method = schema.resolve(entry.method)
  o = call.options("sms", o, 3)
  if type(request) ~= "table" and type(request) ~= "userdata" then
    error(("%s: a table of fields is needed, not %s"):format(method.name, type(request)), 3)
  end
  check_names(method, request, 3)
  local name, wrong = check_request(entry.fields, request)
  if name then return nil, bad(name, wrong, method) end
  local bytes = call.encode(method.input, wrap_addresses(entry.fields, request), 3)
  local reply, err = call.unary(client, method, bytes, o)
  if not reply then return nil, err end
  err = refusal(reply, method, client.target)
  if err then return nil, err end
  return reply
end

-- The services

local function service_class(version)
  local title, class = version == "v1" and "client.sms" or "client.sms_v0", {}
  for name, entry in pairs(methods[version]) do
    class[name] = function(self, request, o)
      if type(self) ~= "table" or not rawget(self, "client") then
        error(("call it with a colon: %s:%s{ … }"):format(title, name), 2)
      end
      local reply, err = send(self.client, entry, request, o)
      return reply, err
    end
  end
  return {
    __index = function(_, key)
      local method = class[key]
      if method then return method end
      error(("%s has no method %s%s"):format(title, tostring(key), options.suggestion(tostring(key), class)), 2)
    end,
    __tostring = function(self) return ("wgtwo.sms(%s at %s)"):format(version, self.client.target) end,
  }
end

local classes = {}

--- The methods of one generation, for a client.
-- @tparam client client
-- @tparam string version "v0" or "v1"
-- @treturn table
-- @local
function sms.service(client, version)
  local class = classes[version] or service_class(version)
  classes[version] = class
  return setmetatable({ client = client }, class)
end

return sms
