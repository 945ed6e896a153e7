--- Server reflection, v1 and v1alpha: what tools like grpcurl ask before they call.
--
-- Files are the FileDescriptorProtos of the rock's own descriptor set and of `descriptors`, byte for byte; an answer to
-- a symbol brings the file and all that it imports.
--
-- @module wgtwo.sandbox.reflection

local core = require "wgtwo.core"
local descriptors = require "wgtwo.sandbox.descriptors"
local errors = require "wgtwo.error"
local schema = require "wgtwo.schema"

local reflection = {}

local index -- made when it is first asked for: files (name → file), symbols (name → file), extensions

local function add_symbols(symbols, prefix, message, file)
  local name = prefix .. message.name
  symbols[name] = file
  for _, nested in ipairs(message.nested_type) do add_symbols(symbols, name .. ".", nested, file) end
  for _, enum in ipairs(message.enum_type) do symbols[name .. "." .. enum.name] = file end
  for _, field in ipairs(message.field) do symbols[name .. "." .. field.name] = file end
end

local function add_file(found, message)
  local file = { name = message.name, bytes = core.bytes(message), imports = message.dependency }
  local prefix = message.package ~= "" and message.package .. "." or ""
  found.files[file.name] = file
  for _, kind in ipairs(message.message_type) do add_symbols(found.symbols, prefix, kind, file) end
  for _, enum in ipairs(message.enum_type) do found.symbols[prefix .. enum.name] = file end
  for _, service in ipairs(message.service) do
    found.symbols[prefix .. service.name] = file
    for _, method in ipairs(service.method) do found.symbols[prefix .. service.name .. "." .. method.name] = file end
  end
  for _, extension in ipairs(message.extension) do
    found.symbols[prefix .. extension.name] = file
    local extended = extension.extendee:gsub("^%.", "")
    found.extensions[extended] = found.extensions[extended] or {}
    found.extensions[extended][extension.number] = file
  end
end

local function read_default_set()
  local path = assert(package.searchpath("wgtwo.api", (package.path:gsub("%.lua%f[;\0]", ".binpb"))))
  local stream <close> = assert(io.open(path, "rb"))
  return stream:read("a")
end

local function make_index()
  if index then return index end
  index = { files = {}, symbols = {}, extensions = {} }
  local kind = schema.type("google.protobuf.FileDescriptorSet")
  for _, bytes in ipairs{ read_default_set(), (descriptors.load()) } do
    for _, file in ipairs(assert(core.decode(kind, bytes)).file) do add_file(index, file) end
  end
  return index
end

--- A file and everything that it imports, itself first.
local function with_imports(file)
  local list, seen = {}, {}
  local function add(one)
    if not one or seen[one.name] then return end
    seen[one.name] = true
    list[#list + 1] = one.bytes
    for _, name in ipairs(one.imports) do add(index.files[name]) end
  end
  add(file)
  return { file_descriptor_proto = list }
end

local function not_found(what)
  return "error_response", { error_code = errors.number("NOT_FOUND"), error_message = "there is no " .. what }
end

local asks = {}

function asks.file_by_filename(name)
  local file = index.files[name]
  if not file then return not_found("file " .. name) end
  return "file_descriptor_response", with_imports(file)
end

function asks.file_containing_symbol(name)
  local file = index.symbols[name]
  if not file then return not_found("symbol " .. name) end
  return "file_descriptor_response", with_imports(file)
end

function asks.file_containing_extension(wanted)
  local file = (index.extensions[wanted.containing_type] or {})[wanted.extension_number]
  if not file then return not_found(("extension %d of %s"):format(wanted.extension_number, wanted.containing_type)) end
  return "file_descriptor_response", with_imports(file)
end

function asks.all_extension_numbers_of_type(name)
  if not index.symbols[name] then return not_found("type " .. name) end
  local numbers = {}
  for number in pairs(index.extensions[name] or {}) do numbers[#numbers + 1] = number end
  table.sort(numbers)
  return "all_extension_numbers_response", { base_type_name = name, extension_number = numbers }
end

function asks.list_services(_, sandbox)
  local seen, list = {}, {}
  for _, route in pairs(sandbox.calls.routes) do
    local name = route.method.service
    if not seen[name] then list[#list + 1] = { name = name } end
    seen[name] = true
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return "list_services_response", { service = list }
end

local function serve(sandbox, version)
  local method = descriptors.method(("grpc.reflection.%s.ServerReflection/ServerReflectionInfo"):format(version))
  sandbox:serve(method, { bidi = function(_, exchange)
    exchange:on_message(function(_, _, request)
      make_index()
      local wanted = core.which(request, "message_request")
      local ask = asks[wanted]
      local member, answer
      if ask then
        member, answer = ask(request[wanted], sandbox)
      else
        member, answer = "error_response", { error_code = errors.number("INVALID_ARGUMENT"),
          error_message = "nothing is asked for" }
      end
      exchange:send(core.encode(method.output, { valid_host = request.host, original_request = request,
        [member] = answer }))
    end, function() exchange:finish() end)
  end })
end

--- Adds both generations to the sandbox.
-- @tparam table sandbox the server
function reflection.register(sandbox)
  serve(sandbox, "v1")
  serve(sandbox, "v1alpha")
end

return reflection
