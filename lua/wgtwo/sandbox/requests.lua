--- Checks that every request passes: numbers and identities have their form wherever they stand.
--
-- Which fields of a type are to be looked at follows from the descriptors, once for each type. A service with rules of
-- its own (SMS, events, lookup) checks those itself.
--
-- @module wgtwo.sandbox.requests

local numbers = require "wgtwo.sandbox.numbers"
local schema = require "wgtwo.schema"
local status = require "wgtwo.sandbox.status"

local requests = {}

local MAX_DEPTH <const> = 5

local function wrong_e164(message)
  if numbers.is_e164(message.e164) then return nil end
  return "e164", "must be a number in E.164 form, such as +4799990001"
end

local function wrong_imsi(message)
  local value = message.value
  if value:find("^%d+$") and #value >= 6 and #value <= 15 then return nil end
  return "value", "must be an IMSI: 6 to 15 digits"
end

--- By the type of a message: the field that is wrong, and why.
local checks = {
  ["wgtwo.common.v0.PhoneNumber"] = wrong_e164,
  ["wgtwo.common.v1.E164"] = wrong_e164,
  ["wgtwo.common.v0.Imsi"] = wrong_imsi,
  ["wgtwo.common.v1.Imsi"] = wrong_imsi,
}

local plans = {} -- type name → list of { name, type_name, repeated } to look into

--- The fields of a type that lead to something that is checked.
local function plan_of(type_name, depth)
  local plan = plans[type_name]
  if plan or depth > MAX_DEPTH then return plan or {} end
  plan = {}
  plans[type_name] = plan
  for _, field in ipairs(schema.describe(type_name).fields) do
    if field.type == "message" and not field.map
        and (checks[field.type_name] or #plan_of(field.type_name, depth + 1) > 0) then
      plan[#plan + 1] = { name = field.name, type_name = field.type_name, repeated = field.label == "repeated" }
    end
  end
  return plan
end

local find

local function find_in(message, type_name, path)
  local check = checks[type_name]
  if not check then return find(message, type_name, path .. ".") end
  local field, wrong = check(message)
  if field then return path .. "." .. field, wrong end
end

--- The path of the first wrong field, and what is wrong with it.
function find(message, type_name, prefix)
  for _, step in ipairs(plan_of(type_name, 0)) do
    local value, path = message[step.name], prefix .. step.name
    if step.repeated then
      for i, one in ipairs(value) do
        local field, wrong = find_in(one, step.type_name, ("%s[%d]"):format(path, i - 1))
        if field then return field, wrong end
      end
    elseif value then
      local field, wrong = find_in(value, step.type_name, path)
      if field then return field, wrong end
    end
  end
end

--- Checks a request.
-- @tparam table method
-- @tparam message request
-- @treturn ?table a status where it is not valid
function requests.check(method, request)
  local field, wrong = find(request, method.input_type, "")
  if field then return status.invalid(field, wrong) end
end

return requests
