--- The APIs' description: which methods and messages there are.
--
-- The rock's own description is a compiled descriptor set beside its Lua files, loaded at first use. Others can be
-- loaded beside it; names are looked for in all, in the order of loading.
--
-- @module wgtwo.schema

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local options = require "wgtwo.options"

local schema = {}

local default
local sets = {}          -- all that are loaded, the default first
local methods            -- name and each of its endings (after a dot) → method, or a list of methods
local all_methods        -- list
local types = {}         -- name as given → type
local documentation      -- the set with comments, false when there is none

local function forget_index()
  methods, all_methods, types = nil, nil, {}
end

-- The path of a descriptor set that was installed with the Lua files.
local function find(name)
  return package.searchpath(name, (package.path:gsub("%.lua%f[;\0]", ".binpb")))
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then return nil, why end
  local bytes = file:read("a")
  file:close()
  return bytes
end

--- The rock's own description.
-- @treturn userdata the core's schema
-- @raise when the file `wgtwo/api.binpb` is not where the Lua files are
function schema.default()
  if default then return default end
  local path, tried = find("wgtwo.api")
  if not path then error("wgtwo is not installed completely, its API description is missing:" .. tried, 0) end
  local bytes, set, why
  bytes, why = read(path)
  if bytes then set, why = core.schema(bytes) end
  if not set then error(("wgtwo's API description %s cannot be loaded: %s"):format(path, why), 0) end
  default = set
  table.insert(sets, 1, set)
  forget_index()
  return set
end

--- Loads a compiled descriptor set (`protoc --include_imports --descriptor_set_out=FILE`) beside the rock's own. It
-- stays loaded; where both have a name, the one that was loaded first counts.
-- @tparam string source the path of a file, or the bytes themselves
-- @treturn ?userdata the core's schema, for `describe` and `methods`
-- @treturn ?wgtwo.error of kind "decode"
-- @usage assert(wgtwo.schema.load("my.binpb"))
--   client:call("my.Service/Method", {})
function schema.load(source)
  if type(source) ~= "string" then error("schema.load: a path or bytes are needed, not " .. type(source), 2) end
  schema.default()
  local bytes = source
  -- a set starts with the tag of its first file, a newline, which no sensible path does
  if source:sub(1, 1) ~= "\n" then
    local why
    bytes, why = read(source)
    if not bytes then return nil, errors.new{ kind = "decode", code = "unreadable", message = why } end
  end
  local set, why = core.schema(bytes)
  if not set then return nil, errors.new{ kind = "decode", code = "invalid_schema", message = why } end
  sets[#sets + 1] = set
  forget_index()
  return set
end

local function stream_kind(method)
  if method.client_streaming then return method.server_streaming and "bidi" or "client" end
  return method.server_streaming and "server" or "unary"
end

local function add_ending(index, ending, method)
  local present = index[ending]
  if not present then
    index[ending] = method
  elseif present.name then
    index[ending] = { present, method }
  else
    present[#present + 1] = method
  end
end

local function index_methods()
  if methods then return end
  schema.default()
  local index, list, seen = {}, {}, {}
  for _, set in ipairs(sets) do
    for _, method in ipairs(set:methods()) do
      if not seen[method.name] then
        seen[method.name] = true
        method.path, method.kind, method.schema = "/" .. method.name, stream_kind(method), set
        list[#list + 1] = method
        local dotted = method.name:gsub("/", ".")
        add_ending(index, dotted, method)
        for at in dotted:gmatch("%.()") do add_ending(index, dotted:sub(at), method) end
      end
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  methods, all_methods = index, list
end

local function names_of(list)
  local names = {}
  for i, method in ipairs(list) do names[i] = method.name end
  table.sort(names)
  return names
end

-- Names that something ends with, inside of a word too.
local function ending_anywhere(list, ending)
  local found = {}
  for _, method in ipairs(list) do
    if method.name:gsub("/", "."):sub(-#ending) == ending then found[#found + 1] = method end
  end
  return found
end

local function ambiguous(what, name, candidates)
  return ("%s %q is ambiguous: %s"):format(what, name, table.concat(candidates, ", "))
end

local function unknown_method(name)
  local candidates, full = {}, {}
  local qualified = name:find("[./]") ~= nil
  for _, method in ipairs(all_methods) do
    local key = qualified and method.name or method.name:match("[^/]*$")
    candidates[#candidates + 1] = key
    full[key] = method.name
  end
  local best, near = options.nearest(name, candidates)
  return ("unknown method %q; the nearest one is %q%s"):format(name, best and full[best] or "",
    near and "" or "; wgtwo.schema.methods() lists all")
end

--- Finds a method by its name: `pkg.Service/Method`, `pkg.Service.Method`, or any ending of these that only one
-- method has.
-- @tparam string name
-- @tparam[opt=2] int level whose line an error names, as for `error`
-- @treturn table `name` ("pkg.Service/Method"), `path`, `service`, `input` and `output` (types), `client_streaming`,
--   `server_streaming`, `kind` ("unary", "server", "client" or "bidi"), `scope`, `status`, `http`, `schema`; not to be
--   changed
-- @raise an unknown name, with the nearest known one; an ambiguous one, with the candidates
-- @usage schema.resolve("SendTextToSubscriber").name --> "wgtwo.sms.v1.SmsService/SendTextToSubscriber"
function schema.resolve(name, level)
  level = level or 2
  if type(name) ~= "string" then error("a method's name must be a string, not " .. type(name), level) end
  index_methods()
  local found = methods[name] or methods[(name:gsub("^/", ""):gsub("/", "."))]
  if not found and name ~= "" then
    local list = ending_anywhere(all_methods, (name:gsub("/", ".")))
    found = #list == 1 and list[1] or #list > 1 and list or nil
  end
  if not found then error(unknown_method(name), level) end
  if not found.name then error(ambiguous("method", name, names_of(found)), level) end
  methods[name] = found
  return found
end

--- All methods of all loaded sets, by name.
-- @treturn table a list of what `resolve` returns
function schema.methods()
  index_methods()
  return table.move(all_methods, 1, #all_methods, 1, {})
end

local function find_type(name)
  local found, candidates = nil, {}
  for _, set in ipairs(sets) do
    found = set:type(name)
    if found then return found end
  end
  local seen, all = {}, {}
  for _, set in ipairs(sets) do
    for _, full in ipairs(set:types()) do
      if not seen[full] then
        seen[full] = true
        all[#all + 1] = full
        if full:sub(-#name - 1) == "." .. name then
          candidates[#candidates + 1] = full
          found = set:type(full)
        end
      end
    end
  end
  if #candidates == 1 then return found end
  if #candidates > 1 then
    table.sort(candidates)
    return nil, ambiguous("message type", name, candidates)
  end
  local best = options.nearest(name, all)
  return nil, ("unknown message type %q; the nearest one is %q"):format(name, best or "")
end

--- Finds a message type by its full name, or any ending after a dot that only one type has.
-- @tparam string|userdata name a type is returned as it is
-- @tparam[opt=2] int level whose line an error names, as for `error`
-- @treturn userdata the core's type
-- @raise an unknown name, with the nearest known one; an ambiguous one, with the candidates
-- @usage schema.type("wgtwo.events.v0.SmsEvent")
function schema.type(name, level)
  if type(name) == "userdata" then return name end
  level = level or 2
  if type(name) ~= "string" then error("a message type's name must be a string, not " .. type(name), level) end
  local found = types[name]
  if found then return found end
  schema.default()
  local why
  found, why = find_type(name)
  if not found then error(why, level) end
  types[name] = found
  return found
end

--- What a message, enum, service or method consists of.
-- @tparam string name in full
-- @treturn ?table nil for a name that no loaded set has
function schema.describe(name)
  schema.default()
  for _, set in ipairs(sets) do
    local description = set:describe(name)
    if description then return description end
  end
end

--- The comment on a message, field, enum, service or method.
-- @tparam string name in full
-- @treturn ?string nil where there is none
-- @usage print(wgtwo.schema.documentation("wgtwo.sms.v1.SmsService"))
function schema.documentation(name)
  schema.default()
  if documentation == nil then
    local path = find("wgtwo.apidocs")
    local bytes = path and read(path)
    documentation = bytes and core.schema(bytes) or false
  end
  local text = documentation and documentation:documentation(name)
  if text then return text end
  for _, set in ipairs(sets) do
    text = set:documentation(name)
    if text then return text end
  end
end

return schema
