-- The facts of a schema as text, one a line: what spec/support/api_facts.txt keeps of the platform's API.
--
-- `lua5.4 -e 'io.write(require("spec.support.facts")(require("wgtwo.schema").default(), "wgtwo."))'` writes it anew,
-- after a
-- change of the platform's API.

local function sorted(list)
  table.sort(list)
  return list
end

local function method_line(method)
  local parts = { ("rpc %s (%s%s) -> (%s%s)"):format(method.name, method.client_streaming and "stream " or "",
    method.input_type,
    method.server_streaming and "stream " or "", method.output_type) }
  for _, key in ipairs{ "scope", "status", "http" } do
    if method[key] then parts[#parts + 1] = key .. "=" .. method[key] end
  end
  return table.concat(parts, "  ")
end

local function field_line(name, field)
  local kind = field.type_name or field.type
  if field.map then
    kind = ("map<%s, %s>"):format(field.key_type, field.value_type_name or field.value_type)
  elseif field.label ~= "singular" then
    kind = field.label .. " " .. kind
  end
  return ("field %s.%s = %d: %s%s"):format(name, field.name, field.number, kind,
    field.oneof and " (oneof " .. field.oneof .. ")" or "")
end

-- The facts of all whose name starts with `prefix`.
return function(schema, prefix)
  local lines = {}
  local function add(line) lines[#lines + 1] = line end
  for _, method in ipairs(schema:methods()) do
    if method.name:sub(1, #prefix) == prefix then add(method_line(method)) end
  end
  for _, name in ipairs(schema:types()) do
    if name:sub(1, #prefix) == prefix then
      add("message " .. name)
      for _, field in ipairs(schema:describe(name).fields) do add(field_line(name, field)) end
    end
  end
  for _, name in ipairs(schema:enums()) do
    if name:sub(1, #prefix) == prefix then
      for _, value in ipairs(schema:describe(name).values) do add(("enum %s.%s = %d"):format(name, value.name,
        value.number)) end
    end
  end
  return table.concat(sorted(lines), "\n") .. "\n"
end
