--- Call metadata: what a script gives, checked and made the list of pairs that the core sends.
--
-- A script writes a table `{ ["x-request-id"] = "17", ["x-many"] = { "a", "b" } }`. Names are sent in lower case, as
-- HTTP/2 wants them; a value of a name that ends in "-bin" may hold any bytes, every other one printable ASCII. What
-- breaks a rule is misuse and raises; a value is never shown, since it may be secret.
--
-- @module wgtwo.metadata

local metadata = {}

-- Names that gRPC writes itself: sending them twice would confuse the server.
local reserved = { ["content-type"] = true, ["te"] = true, ["user-agent"] = true, ["host"] = true }

local function check_name(name)
  if type(name) ~= "string" then
    return nil, ("metadata is a table of names and values; [%s] is no name"):format(tostring(name))
  end
  local lower = name:lower()
  if not lower:find("^[%l%d_.-]+$") then
    return nil, ('metadata name "%s": letters, digits, "-", "_" and "." only'):format((name:gsub("%c", "?")))
  elseif lower:sub(1, 5) == "grpc-" or reserved[lower] then
    return nil, ('metadata name "%s" belongs to gRPC itself'):format(name)
  end
  return lower
end

local function check_value(name, value)
  if math.type(value) == "integer" then value = tostring(value) end
  if type(value) ~= "string" then
    return nil, ('metadata "%s": a value must be a string, not %s'):format(name, type(value))
  end
  if name:sub(-4) ~= "-bin" and value:find("[^\32-\126]") then
    return nil, ('metadata "%s": a value outside printable ASCII needs a name that ends in "-bin"'):format(name)
  end
  return value
end

--- Checks a table of metadata.
-- @tparam ?table given name → value, or a list of values
-- @treturn ?table a list of {name, value}, sorted by name; nil where a rule is broken
-- @treturn ?string what is wrong
-- @usage metadata.list{ ["X-Id"] = "7" } --> { { "x-id", "7" } }
function metadata.list(given)
  local list = {}
  for name, values in pairs(given or {}) do
    local lower, wrong = check_name(name)
    if not lower then return nil, wrong end
    for _, value in ipairs(type(values) == "table" and values or { values }) do
      local checked
      checked, wrong = check_value(lower, value)
      if not checked then return nil, wrong end
      list[#list + 1] = { lower, checked, #list }
    end
  end
  table.sort(list, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[3] < b[3]
  end)
  for _, pair in ipairs(list) do pair[3] = nil end
  return list
end

--- A rule for `wgtwo.options`: the value is a table of metadata.
metadata.rule = {
  type = "table",
  check = function(given)
    local list, wrong = metadata.list(given)
    return list ~= nil, wrong
  end,
}

--- Two lists as one: a name of the second replaces the first's.
-- @tparam table base
-- @tparam table over
-- @treturn table
function metadata.merge(base, over)
  if #over == 0 then return base end
  local replaced, merged = {}, {}
  for _, pair in ipairs(over) do replaced[pair[1]] = true end
  for _, pair in ipairs(base) do
    if not replaced[pair[1]] then merged[#merged + 1] = pair end
  end
  for _, pair in ipairs(over) do merged[#merged + 1] = pair end
  return merged
end

--- Whether a list has a name.
-- @tparam table list
-- @tparam string name in lower case
-- @treturn boolean
function metadata.has(list, name)
  for _, pair in ipairs(list) do
    if pair[1] == name then return true end
  end
  return false
end

return metadata
