-- A second descriptor set, made by hand: the package "test" with every kind of field there is, in proto3 and in
-- proto2, and the well-known types that the platform's API does not use.
--
-- test.Every has for each scalar type T, the enum test.Colour and itself (`message`): T, o_T (optional), r_T
-- (repeated), u_T (repeated, not packed), c_T (in the oneof `choice`), m_T (the value of a map with string keys), k_T
-- (a map with keys of that type), and w_X for each well-known type X.

local core = require("wgtwo.core")
local schema = require("wgtwo.schema")

local M = {}

M.scalars = { "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "bytes", "uint32",
  "sfixed32",
  "sfixed64", "sint32", "sint64" }
M.kinds = { "enum", "message", table.unpack(M.scalars) }
M.wrappers = { "Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes" }

local type_names = { enum = ".test.Colour", message = ".test.Every" }
local no_key = { double = true, float = true, bytes = true, enum = true, message = true }

-- A field of the next free number.
local function add(message, name, kind, more)
  local field = { name = name, number = #message.field + 1, type = "TYPE_" .. kind:upper(), label = "LABEL_OPTIONAL",
    type_name = type_names[kind] }
  for key, value in pairs(more or {}) do field[key] = value end
  message.field[#message.field + 1] = field
  return field
end

local function new_message(name)
  return { name = name, field = {}, nested_type = {}, oneof_decl = {} }
end

-- A map field; `scope` is the full name of the message.
local function add_map(message, scope, name, key, value, value_type)
  local camel = name:gsub("^%l", string.upper):gsub("_(%w)", string.upper)
  local entry = { name = camel .. "Entry", options = { map_entry = true }, field = {
    { name = "key", number = 1, type = "TYPE_" .. key:upper(), label = "LABEL_OPTIONAL" },
    { name = "value", number = 2, type = "TYPE_" .. value:upper(), label = "LABEL_OPTIONAL",
      type_name = value_type or type_names[value] },
  } }
  message.nested_type[#message.nested_type + 1] = entry
  add(message, name, "message", { label = "LABEL_REPEATED", type_name = "." .. scope .. "." .. entry.name })
end

local function every(known)
  local message = new_message("Every")
  message.oneof_decl[1] = { name = "choice" }
  for _, kind in ipairs(M.kinds) do
    add(message, kind, kind)
    add(message, "r_" .. kind, kind, { label = "LABEL_REPEATED" })
    add(message, "u_" .. kind, kind, { label = "LABEL_REPEATED", options = { packed = false } })
    add(message, "c_" .. kind, kind, { oneof_index = 0 })
    add_map(message, "test.Every", "m_" .. kind, "string", kind)
    if not no_key[kind] then add_map(message, "test.Every", "k_" .. kind, kind, "int32") end
  end
  for _, kind in ipairs(M.kinds) do
    message.oneof_decl[#message.oneof_decl + 1] = { name = "_o_" .. kind }
    add(message, "o_" .. kind, kind, { oneof_index = #message.oneof_decl - 1, proto3_optional = true })
  end
  for _, name in ipairs(known) do add(message, "w_" .. name, "message", { type_name = ".google.protobuf." .. name }) end
  add(message, "r_Value", "message", { label = "LABEL_REPEATED", type_name = ".google.protobuf.Value" })
  add(message, "null", "enum", { type_name = ".google.protobuf.NullValue" })
  return message
end

local function known_types()
  local messages, names = {}, {}
  local function define(name)
    local message = new_message(name)
    messages[#messages + 1] = message
    names[#names + 1] = name
    return message
  end
  for _, name in ipairs{ "Timestamp", "Duration" } do
    local message = define(name)
    add(message, "seconds", "int64")
    add(message, "nanos", "int32")
  end
  define("Empty")
  local any = define("Any")
  add(any, "type_url", "string")
  add(any, "value", "bytes")
  add(define("FieldMask"), "paths", "string", { label = "LABEL_REPEATED" })
  for _, name in ipairs(M.wrappers) do add(define(name .. "Value"), "value", name:lower()) end
  add(define("ListValue"), "values", "message", { label = "LABEL_REPEATED", type_name = ".google.protobuf.Value" })
  add_map(define("Struct"), "google.protobuf.Struct", "fields", "string", "message", ".google.protobuf.Value")
  local value = define("Value")
  value.oneof_decl[1] = { name = "kind" }
  add(value, "null_value", "enum", { oneof_index = 0, type_name = ".google.protobuf.NullValue" })
  add(value, "number_value", "double", { oneof_index = 0 })
  add(value, "string_value", "string", { oneof_index = 0 })
  add(value, "bool_value", "bool", { oneof_index = 0 })
  add(value, "struct_value", "message", { oneof_index = 0, type_name = ".google.protobuf.Struct" })
  add(value, "list_value", "message", { oneof_index = 0, type_name = ".google.protobuf.ListValue" })
  return messages, names
end

-- test.Old: proto2, with required fields and defaults.
local function old()
  local message = new_message("Old")
  add(message, "required_number", "int32", { label = "LABEL_REQUIRED" })
  add(message, "number", "int32", { default_value = "-7" })
  add(message, "big", "uint64", { default_value = "18446744073709551615" })
  add(message, "text", "string", { default_value = "blåbær" })
  add(message, "bytes", "bytes", { default_value = [[\001\x41\n\"]] })
  add(message, "ratio", "double", { default_value = "-1.5" })
  add(message, "endless", "float", { default_value = "inf" })
  add(message, "yes", "bool", { default_value = "true" })
  add(message, "colour", "enum", { default_value = "GREEN", type_name = ".test.OldColour" })
  add(message, "first_colour", "enum", { type_name = ".test.OldColour" })
  add(message, "list", "int32", { label = "LABEL_REPEATED" })
  add(message, "packed_list", "int32", { label = "LABEL_REPEATED", options = { packed = true } })
  return message
end

-- The bytes of a set of files, each a table as FileDescriptorProto has it.
function M.encode_set(files)
  return core.encode(schema.default():type("google.protobuf.FileDescriptorSet"), { file = files })
end

function M.set()
  local messages, names = known_types()
  local colours = { { name = "NONE", number = 0 }, { name = "RED", number = 1 }, { name = "GREEN", number = 2 },
    { name = "VERDE", number = 2 }, { name = "MINUS", number = -1 } }
  return M.encode_set{
    { name = "known.proto", package = "google.protobuf", syntax = "proto3", message_type = messages,
      enum_type = { { name = "NullValue", value = { { name = "NULL_VALUE", number = 0 } } } } },
    { name = "every.proto", package = "test", syntax = "proto3", dependency = { "known.proto" },
      message_type = { every(names) },
      enum_type = { { name = "Colour", value = colours, options = { allow_alias = true } } } },
    { name = "old.proto", package = "test", syntax = "proto2", message_type = { old() },
      enum_type = { { name = "OldColour", value = { { name = "RED", number = 5 }, { name = "GREEN",
        number = 6 } } } } },
  }
end

local loaded

-- The schema, made once.
function M.schema()
  loaded = loaded or assert(core.schema(M.set()))
  return loaded
end

return M
