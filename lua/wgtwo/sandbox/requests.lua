--- Checks that every request passes: the rules of its fields, wherever they stand in it.
--
-- What is to be looked at of a message type follows from `wgtwo.sandbox.rules` and the descriptors, once for each type:
-- a plan. Whatever the type, an enum must have one of its values, and a string must be a text: valid UTF-8, as protobuf
-- has it, and without zero bytes, which this rock does not send (undocumented). What depends on more than the request
-- (positions, pages, open questions) the services check themselves.
--
-- @module wgtwo.sandbox.requests

local clock = require "wgtwo.sandbox.clock"
local core = require "wgtwo.core"
local rules = require "wgtwo.sandbox.rules"
local schema = require "wgtwo.schema"
local status = require "wgtwo.sandbox.status"

local requests = {}

local NO_RULE <const> = {}
local DURATION <const> = "google.protobuf.Duration"

-- One value: what is wrong with it, or nil ----------------------------------------------------------------------------

local function bounds_of(min, max)
  if min == max then return tostring(min) end
  if min and max then return ("%s to %s"):format(min, max) end
  return min and "at least " .. min or "at most " .. max
end

local function is_outside(value, range)
  return range.min and value < range.min or range.max and value > range.max or false
end

local function wrong_number(rule, value, unit)
  if rule.above and value <= rule.above then return ("must be more than %s%s"):format(rule.above, unit) end
  if is_outside(value, rule) then return ("must be %s%s"):format(bounds_of(rule.min, rule.max), unit) end
end

local function no_text(value)
  if not utf8.len(value) then return "must be valid UTF-8" end
  if value:find("\0", 1, true) then return "must not have a zero byte" end
end

local function wrong_bytes(rule, value)
  if rule.check then return rule.check(value) end
  if rule.size and #value ~= rule.size then return ("must have %d bytes, not %d"):format(rule.size, #value) end
  local length = rule.length
  if length and is_outside(utf8.len(value) or math.huge, { min = length[1], max = length[2] })
      or rule.pattern and not value:find(rule.pattern) then
    return "must be " .. (rule.text or bounds_of(length[1], length[2]) .. " characters")
  end
end

local function wrong_enum(step, value)
  if math.type(value) == "integer" then return ("%d is not a value of %s"):format(value, step.type_name) end
  if step.rule.needed and value == step.zero then return "is needed" end
end

--- What is wrong with a value, and the path of the field inside of it where it is a message.
local function problem_of(step, value)
  local kind, rule = step.kind, step.rule
  if kind == "string" then return no_text(value) or wrong_bytes(rule, value) end
  if kind == "bytes" then return wrong_bytes(rule, value) end
  if kind == "enum" then return wrong_enum(step, value) end
  if kind == "number" then return wrong_number(rule, value, "") end
  local path, problem = requests.problem(step.plan, value)
  if problem then return problem, "." .. path end
  if step.type_name == DURATION then return wrong_number(rule, clock.seconds(value), " seconds") end
end

-- One message ---------------------------------------------------------------------------------------------------------

local function list_problem(step, list)
  if step.rule.needed and #list == 0 then return "at least one is needed" end
  for index, value in ipairs(list) do
    local problem, path = problem_of(step, value)
    if problem then return problem, ("[%d]%s"):format(index - 1, path or "") end
  end
end

local function map_problem(map)
  for key, value in pairs(map) do
    local problem = type(key) == "string" and no_text(key) or type(value) == "string" and no_text(value)
    if problem then return problem end
  end
end

local function field_problem(step, message)
  local value = message[step.name]
  if step.is_plain then return value and no_text(value) end
  if step.is_map then return map_problem(value) end
  if step.is_list then return list_problem(step, value) end
  if value == nil or value == "" then return step.rule.needed and "is needed" or nil end
  return problem_of(step, value)
end

local function one_of(names, message)
  for _, name in ipairs(names) do
    if core.has(message, name) then return end
  end
  return names[1], ("one of %s is needed"):format(table.concat(names, ", "))
end

local function number_of(value)
  return math.type(value) and value or value and clock.seconds(value)
end

local function in_order(names, message)
  local first, second = number_of(message[names[1]]), number_of(message[names[2]])
  if first and second and second < first then return names[2], ("must not be less than %s"):format(names[1]) end
end

--- The first field of a message that breaks its rule.
-- @tparam table plan
-- @tparam message message
-- @treturn ?string its path
-- @treturn ?string what is wrong with it
function requests.problem(plan, message)
  for i = 1, #plan do
    local step = plan[i]
    local problem, path = field_problem(step, message)
    if problem then return step.name .. (path or ""), problem end
  end
  for i = 1, #plan.rule do
    local rule = plan.rule[i]
    local field, problem
    if rule.one_of then
      field, problem = one_of(rule.one_of, message)
    else
      field, problem = in_order(rule.in_order, message)
    end
    if problem then return field, problem end
  end
end

-- Plans ---------------------------------------------------------------------------------------------------------------

local plans = {} -- type name → list of steps; `rule`: those of the type

local numeric = { int32 = true, int64 = true, uint32 = true, uint64 = true }

--- How a field is to be looked at; nil where nothing can be wrong with it.
local function step_of(field, rule)
  local step = { name = field.name, type_name = field.type_name, is_list = field.label == "repeated",
    is_map = field.map, rule = rule or NO_RULE, kind = numeric[field.type] and "number" or field.type }
  if field.map or field.type == "string" then
    step.is_plain = not rule and not step.is_map and not step.is_list -- text, whatever it says
    return step
  elseif field.type == "message" then
    step.plan = requests.plan(field.type_name)
    return (rule or #step.plan > 0 or #step.plan.rule > 0) and step or nil
  elseif field.type == "enum" then
    step.zero = schema.describe(field.type_name).values[1].name
    return step
  end
  return rule and step
end

--- What is to be looked at in a message of a type.
-- @tparam string type_name
-- @treturn table
function requests.plan(type_name)
  local plan = plans[type_name]
  if plan then return plan end
  local of_type, description = rules[type_name] or NO_RULE, schema.describe(type_name)
  plan = { rule = of_type }
  plans[type_name] = plan -- before its fields: a type may hold itself
  for _, field in ipairs(description and description.fields or {}) do
    plan[#plan + 1] = step_of(field, of_type[field.name]) -- or nothing
  end
  return plan
end

--- Checks a request.
-- @tparam table method
-- @tparam message request
-- @treturn ?table a status where it is not valid
function requests.check(method, request)
  local field, problem = requests.problem(requests.plan(method.input_type), request)
  if field then return status.invalid(field, problem) end
end

return requests
