local core = require "wgtwo.core"
local every_type = require "spec.support.every_type"

local function field(more)
  local made = { name = "a", number = 1, type = "TYPE_INT32", label = "LABEL_OPTIONAL" }
  for key, value in pairs(more or {}) do made[key] = value ~= "none" and value or nil end
  return made
end

local function message(fields, more)
  local made = { name = "M", field = fields }
  for key, value in pairs(more or {}) do made[key] = value end
  return made
end

local function file(more)
  local made = { name = "a.proto", package = "p", syntax = "proto3" }
  for key, value in pairs(more) do made[key] = value end
  return made
end

local function refuses(reason, files)
  local schema, text = core.schema(every_type.encode_set(files))
  assert.is_nil(schema)
  assert.matches(reason, text)
  assert.is_nil(text:find("[^ -~]"), "one printable line")
end

local function refuses_message(reason, ...)
  refuses(reason, { file{ message_type = { message(...) } } })
end

local function map_entry(fields)
  return { name = "AEntry", field = fields, options = { map_entry = true } }
end

describe("core.schema refuses, with the reason,", function()
  it("bytes that are no descriptor set", function()
    for _, bytes in ipairs{ "", "hello", "\n\5abc", ("\xff"):rep(100), "\n\3\x0a\x05a" } do
      local schema, text = core.schema(bytes)
      assert.is_nil(schema)
      assert.matches("not a FileDescriptorSet", text)
    end
  end)

  it("every beginning of a good set that is cut inside of its last file", function()
    local set = every_type.set()
    for len = 0, #set - 1, 97 do
      local schema, text = core.schema(set:sub(1, len))
      assert.is_nil(schema)
      assert.is_string(text)
    end
  end)

  it("a type that is not there", function()
    refuses_message("p%.M%.a: unknown type p%.N", { field{ type = "TYPE_MESSAGE", type_name = ".p.N" } })
    refuses_message("p%.M%.a: unknown type p%.E", { field{ type = "TYPE_ENUM", type_name = ".p.E" } })
    refuses_message("is not fully qualified", { field{ type = "TYPE_MESSAGE", type_name = "M" } })
    refuses_message("is not fully qualified", { field{ type = "TYPE_MESSAGE" } })
    refuses_message("no enum", { field{ type = "TYPE_ENUM", type_name = ".p.M" } })
    refuses_message("no valid type", { field{ type = "none" } })
    refuses_message("no valid type", { field{ type = 19 } })
    refuses("unknown type p%.Q", { file{ message_type = { message{} }, service = { { name = "S",
      method = { { name = "A", input_type = ".p.M", output_type = ".p.Q" } } } } } })
    refuses("is no message", { file{ message_type = { message{} }, enum_type = { { name = "E", value = { { name = "X",
      number = 0 } } } },
      service = { { name = "S", method = { { name = "A", input_type = ".p.E", output_type = ".p.M" } } } } } })
  end)

  it("numbers and names that are there twice, or are none", function()
    refuses_message("p%.M: a and b have the number 1", { field(), field{ name = "b" } })
    refuses_message("two fields a", { field(), field{ number = 2 } })
    refuses_message("two fields that JSON calls aB", { field{ name = "a_b" }, field{ name = "aB", number = 2 } })
    refuses_message("0 is no valid field number", { field{ number = 0 } })
    refuses_message("no valid field number", { field{ number = "none" } })
    refuses_message("536870912 is no valid field number", { field{ number = 536870912 } })
    refuses_message("'1a' in p%.M is no valid name", { field{ name = "1a" } })
    refuses_message("'' in p%.M is no valid name", { field{ name = "none" } })
    refuses_message("no valid JSON name", { field{ json_name = 'a"b' } })
    refuses("p%.M is defined twice", { file{ message_type = { message{}, message{} } } })
    refuses("two values X", { file{ enum_type = { { name = "E", value = { { name = "X", number = 0 }, { name = "X",
      number = 1 } } } } } })
    refuses("package 'p%.%.q' of a%.proto is no valid name", { file{ package = "p..q" } })
  end)

  it("files that are missing, there twice, without a name or in a language that is not known", function()
    refuses("a%.proto imports b%.proto, which is not in the set", { file{ dependency = { "b.proto" } } })
    refuses("a%.proto is in the set twice", { file{}, file{} })
    refuses("has no name", { { package = "p" } })
    refuses("syntax 'editions' is not supported", { file{ syntax = "editions" } })
  end)

  it("groups, and messages defined inside each other without end", function()
    refuses_message("is a group", { field{ type = "TYPE_GROUP", type_name = ".p.M" } })
    local nested = message{}
    for _ = 1, 33 do nested = message({}, { nested_type = { nested } }) end
    refuses("more than 32 deep", { file{ message_type = { nested } } })
  end)

  it("oneofs and maps that are not as protoc makes them", function()
    refuses_message("in oneof 5 of 0", { field{ oneof_index = 5 } })
    refuses_message("in oneof %-1 of 0", { field{ oneof_index = -1 } })
    refuses_message("repeated or required field is in a oneof", { field{ oneof_index = 0, label = "LABEL_REPEATED" } },
      { oneof_decl = { { name = "o" } } })
    refuses_message("an optional field shares a oneof",
      { field{ oneof_index = 0, proto3_optional = true }, field{ name = "b", number = 2, oneof_index = 0 } },
        { oneof_decl = { { name = "o" } } })
    local entry_field = field{ type = "TYPE_MESSAGE", type_name = ".p.M.AEntry", label = "LABEL_REPEATED" }
    refuses_message("no valid map entry", { entry_field }, { nested_type = { map_entry{ field{ name = "key" } } } })
    refuses_message("no valid map entry", { entry_field }, { nested_type = { map_entry{ field{ name = "key",
      type = "TYPE_FLOAT" },
      field{ name = "value", number = 2 } } } })
    refuses_message("map entry outside of a map", { field{ type = "TYPE_MESSAGE", type_name = ".p.M.AEntry" } },
      { nested_type = { map_entry{ field{ name = "key" }, field{ name = "value", number = 2 } } } })
  end)

  it("defaults that do not fit", function()
    refuses("is no default", { file{ syntax = "proto2", message_type = { message{ field{ default_value = "x" } } } } })
    refuses("is no default", { file{ syntax = "proto2",
      message_type = { message{ field{ default_value = "99999999999999999999" } } } } })
  end)

  it("and never takes anything else than a string", function()
    assert.error_matches(function() core.schema(nil) end, "string expected")
    assert.error_matches(function() core.schema({}) end, "string expected")
  end)
end)

describe("core.schema takes", function()
  it("a file without a package", function()
    local schema = assert(core.schema(every_type.encode_set{ { name = "a.proto",
      message_type = { message{ field() } } } }))
    assert.equal("M", tostring(schema:type("M")))
  end)

  it("a type that refers to itself, and types in any order of files", function()
    local schema = assert(core.schema(every_type.encode_set{
      file{ message_type = { message{ field{ type = "TYPE_MESSAGE", type_name = ".p.M" } } },
        dependency = { "z.proto" } },
      file{ name = "z.proto", package = "z", message_type = { message{ field{ type = "TYPE_MESSAGE",
        type_name = ".p.M" } } } } }))
    assert.equal("p.M", schema:describe("z.M").fields[1].type_name)
  end)

  it("a Timestamp that is none, as a plain message", function()
    local schema = assert(core.schema(every_type.encode_set{ { name = "t.proto", package = "google.protobuf",
      syntax = "proto3",
      message_type = { { name = "Timestamp", field = { field{ name = "seconds", type = "TYPE_STRING" } } } } } }))
    local type = schema:type("google.protobuf.Timestamp")
    assert.equal("{\"seconds\":\"x\"}", core.tojson(core.decode(type, core.encode(type, { seconds = "x" }))))
  end)
end)
