--- Checks of option tables and the search for the name that was probably meant.
--
-- Every public function that takes options takes them as one table and has it checked here: a wrong key, type or
-- range is misuse, so it raises, at the line of the script that called the public function. The copy that comes
-- back has the defaults filled in; the caller's table is never changed.
--
-- @module wgtwo.options

local options = {}

--- How many edits lead from one word to another: insert, delete, replace, or swap two neighbours.
-- @tparam string a
-- @tparam string b
-- @treturn int
local function distance(a, b)
  local before, previous = {}, {}
  for j = 0, #b do previous[j] = j end
  for i = 1, #a do
    local current = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      current[j] = best
    end
    before, previous = previous, current
  end
  return previous[#b]
end

--- As distance, but a word that begins or ends with the other (3 letters or more) counts as near.
local function unlikeness(a, b)
  a, b = a:lower(), b:lower()
  local shorter, longer = a, b
  if #a > #b then shorter, longer = b, a end
  if #shorter >= 3 and (longer:sub(1, #shorter) == shorter or longer:sub(-#shorter) == shorter) then
    return math.min(2, #longer - #shorter)
  end
  return distance(a, b)
end

local function sorted(candidates)
  local names = {}
  if #candidates > 0 then
    for _, name in ipairs(candidates) do names[#names + 1] = name end
  else
    for name in pairs(candidates) do
      if type(name) == "string" then names[#names + 1] = name end
    end
  end
  table.sort(names)
  return names
end

--- The candidate that a misspelt name is nearest to.
-- @tparam string name what was written
-- @tparam table candidates a list of names, or a table that has them as keys
-- @treturn ?string the nearest name, nil when there are no candidates
-- @treturn boolean whether it is near enough to be what was meant
-- @usage options.nearest("timoeut", {"timeout", "target"}) --> "timeout", true
function options.nearest(name, candidates)
  local best, least
  for _, candidate in ipairs(sorted(candidates)) do
    local unlike = unlikeness(name, candidate)
    if not least or unlike < least then best, least = candidate, unlike end
  end
  return best, best ~= nil and least <= math.max(2, #name // 3)
end

--- The end of a message about an unknown name: what was probably meant, or what there is.
-- @tparam string name what was written
-- @tparam table candidates as for nearest
-- @treturn string such as `; did you mean "timeout"?`, empty without candidates
function options.suggestion(name, candidates)
  local best, near = options.nearest(name, candidates)
  if not best then return "" end
  if near then return ('; did you mean "%s"?'):format(best) end
  local names = sorted(candidates)
  if #names > 20 then return ('; the nearest known one is "%s"'):format(best) end
  return ('; the nearest known one is "%s" (known: %s)'):format(best, table.concat(names, ", "))
end

local function callable(value)
  if type(value) == "function" then return true end
  local meta = getmetatable(value)
  return type(meta) == "table" and meta.__call ~= nil
end

local is_type = {
  number = function(v) return type(v) == "number" and v == v and v ~= math.huge and v ~= -math.huge end,
  integer = function(v) return math.type(v) == "integer" end,
  callable = callable,
  list = function(v) return type(v) == "table" end,
  any = function() return true end,
}

local described = {
  number = "a finite number", integer = "an integer", string = "a string", boolean = "a boolean",
  table = "a table", list = "a list", callable = "a function", ["function"] = "a function",
}

-- JSON's null, where the core is in use: without it, there is none.
local function is_null(value)
  local core = package.loaded["wgtwo.core"]
  return core ~= nil and value == core.null
end

--- How a value is shown in a message: short, and never the content of a string that may be a secret.
local function shown(value, rule)
  if type(value) == "string" and not rule.secret then
    return #value <= 60 and ("%q"):format(value):gsub("\\\n", "\\n") or ("a string of %d bytes"):format(#value)
  elseif type(value) == "number" and not rule.secret or type(value) == "boolean" then
    return tostring(value)
  end
  return is_null(value) and "null" or "a " .. type(value)
end

local function expected_types(rule)
  local types, words = rule.type, {}
  for _, name in ipairs(type(types) == "table" and types or { types }) do
    words[#words + 1] = described[name] or name
  end
  if rule.or_false then words[#words + 1] = "false" end
  return table.concat(words, " or ")
end

local function has_type(value, rule)
  if rule.type == nil then return true end
  if rule.or_false and value == false then return true end
  for _, name in ipairs(type(rule.type) == "table" and rule.type or { rule.type }) do
    local test = is_type[name]
    if test and test(value) or not test and type(value) == name then return true end
  end
  return false
end

local function range(rule)
  local words = {}
  if rule.above then words[#words + 1] = "more than " .. rule.above end
  if rule.min then words[#words + 1] = "at least " .. rule.min end
  if rule.max then words[#words + 1] = "at most " .. rule.max end
  return table.concat(words, " and ") .. (rule.unit and " " .. rule.unit or "")
end

local check_fields

--- One value against its rule: the value to use, or nil and what is wrong with it.
local function check_value(path, value, rule)
  if not has_type(value, rule) then
    return nil, ("%s must be %s, not %s"):format(path, expected_types(rule), shown(value, rule))
  end
  if value == false and rule.or_false then return value end
  if type(value) == "number" and (rule.above and value <= rule.above or rule.min and value < rule.min
      or rule.max and value > rule.max) then
    return nil, ("%s must be %s, not %s"):format(path, range(rule), tostring(value))
  end
  if type(value) == "string" and rule.nonempty and value == "" then
    return nil, ("%s must not be empty"):format(path)
  end
  if rule.one_of and type(value) == "string" then
    local known = false
    for _, name in ipairs(sorted(rule.one_of)) do known = known or name == value end
    if not known then
      return nil, ('%s: unknown value "%s"%s'):format(path, value, options.suggestion(value, rule.one_of))
    end
  end
  if rule.fields and type(value) == "table" then
    local checked, wrong = check_fields(path .. ".", value, rule.fields)
    if not checked then return nil, wrong end
    value = checked
  elseif rule.of and type(value) == "table" then
    local items, count = {}, 0
    for _ in pairs(value) do count = count + 1 end
    if count ~= #value then return nil, ("%s must be a list, 1 to n without gaps or other keys"):format(path) end
    if rule.nonempty and count == 0 then return nil, ("%s must not be empty"):format(path) end
    for i = 1, count do
      local item, wrong = check_value(("%s[%d]"):format(path, i), value[i], rule.of)
      if wrong then return nil, wrong end
      items[i] = item
    end
    value = items
  end
  if rule.check then
    local ok, wrong = rule.check(value)
    if not ok then return nil, ("%s: %s"):format(path, wrong) end
  end
  return value
end

function check_fields(prefix, given, spec)
  for key in pairs(given) do
    if spec[key] == nil then
      if type(key) ~= "string" then
        return nil, ("%s takes named options only, not [%s]"):format(prefix, tostring(key))
      end
      return nil, ('unknown option "%s%s"%s'):format(prefix, key, options.suggestion(key, spec))
    end
  end
  local checked = {}
  for key, rule in pairs(spec) do
    local value = given[key]
    if value == nil then
      if rule.required then return nil, ("%s%s is required"):format(prefix, key) end
      value = rule.default
      if value == nil and rule.fields and rule.fill then
        value = check_fields(prefix .. key .. ".", {}, rule.fields)
      end
    else
      local wrong
      value, wrong = check_value(prefix .. key, value, rule)
      if wrong then return nil, wrong end
    end
    checked[key] = value
  end
  return checked
end

--- Whether what was given as options is a module: what a colon for a dot makes of a function's first argument.
local function is_module(given)
  for _, module in pairs(package.loaded) do
    if module == given then return true end
  end
  return false
end

--- Checks a table of options and fills in the defaults; raises where something is wrong.
--
-- A rule has any of: `type` (a Lua type, "integer", "number" (finite), "list", "callable", or a list of these),
-- `or_false`, `required`, `default`, `min`, `max`, `above` (exclusive), `unit` (for messages), `one_of` (names),
-- `nonempty`, `of` (the rule of a list's items), `fields` (rules of a nested table; with `fill` its defaults apply
-- even when it is absent), `secret` (never shown), `check` (function(value) → true | false, what is wrong).
--
-- @tparam string where the public function's name, first in every message
-- @tparam ?table given the options as the script wrote them
-- @tparam table spec rules by option name
-- @tparam[opt=2] int level whose line the error names, as for `error` seen from the function that calls check:
--   2 is the caller of that function
-- @treturn table a checked copy
-- @raise what is wrong, with the nearest known name for an unknown one
-- @usage local o = options.check("wgtwo.connect", given, { timeout = { type = "number", above = 0, default = 10 } })
function options.check(where, given, spec, level)
  level = (level or 2) + 1
  if given == nil then given = {} end
  if type(given) ~= "table" then
    error(("%s: options must be a table, not %s"):format(where, type(given)), level)
  end
  local checked, wrong = check_fields("", given, spec)
  if not checked and is_module(given) then
    error(("call it with a dot: %s{ … }"):format(where), level)
  elseif not checked then
    error(where .. ": " .. wrong, level)
  end
  return checked
end

return options
