local core = require "wgtwo.core"
local every_type = require "spec.support.every_type"
local facts = require "spec.support.facts"
local process = require "spec.support.process"
local schema = require("wgtwo.schema").default()

local function lines(text)
  local set = {}
  for line in text:gmatch("[^\n]+") do set[line] = true end
  return set
end

local function missing(from, other)
  local list = {}
  for line in pairs(from) do
    if not other[line] then list[#list + 1] = line end
  end
  table.sort(list)
  return list
end

describe("the platform's API", function()
  it("is what spec/support/api_facts.txt says: methods, scopes, statuses, messages, fields, numbers, types, enums",
    function()
    local file <close> = assert(io.open("spec/support/api_facts.txt"))
    local want, have = lines(file:read("a")), lines(facts(schema, "wgtwo."))
    assert.same({}, missing(want, have), "missing here")
    assert.same({}, missing(have, want), "not in the platform's API")
  end)

  it("has 67 methods with full names, types, streaming kinds, scope, status and HTTP mapping", function()
    local methods, streaming, scopes, statuses, http = schema:methods(), 0, 0, {}, 0
    assert.equal(67, #methods)
    for _, method in ipairs(methods) do
      assert.matches("^wgtwo%.[%w_.]+/%w+$", method.name)
      assert.equal(method.service .. "/" .. method.short_name, method.name)
      assert.equal(method.input_type, tostring(method.input))
      assert.equal(method.output_type, tostring(method.output))
      assert.is_boolean(method.client_streaming)
      if method.server_streaming then streaming = streaming + 1 end
      if method.scope then scopes = scopes + 1 end
      if method.status then statuses[method.status] = (statuses[method.status] or 0) + 1 end
      if method.http then http = http + 1 end
    end
    assert.is_true(streaming >= 7)
    assert.is_true(scopes > 30)
    assert.is_true(statuses.BETA > 5)
    assert.is_true(http > 2)
  end)

  it("knows one method in all its particulars", function()
    local method = schema:describe("wgtwo.sms.v1.SmsService/SendTextToSubscriber")
    assert.equal("method", method.kind)
    assert.equal("sms.text:send_to_subscriber", method.scope)
    assert.equal("POST /sms/v0/inboxes/{to_subscriber}/text", method.http)
    assert.equal("wgtwo.sms.v1.SendTextToSubscriberRequest", method.input_type)
    assert.is_false(method.server_streaming)
    assert.is_true(schema:describe("wgtwo.events.v0.EventsService.Subscribe").server_streaming)
    local lookup = schema:describe("wgtwo.lookup.v0.NumberLookupService/NumberLookup")
    assert.is_true(lookup.client_streaming and lookup.server_streaming)
  end)
end)

describe("a schema", function()
  it("gives one handle for a type, which tells its name", function()
    local type = schema:type("wgtwo.events.v0.Event")
    assert.equal("wgtwo.events.v0.Event", tostring(type))
    assert.equal(type, schema:type("wgtwo.events.v0.Event"))
    assert.is_nil(schema:type("wgtwo.events.v0.Nothing"))
    assert.is_nil(schema:type("wgtwo.events.v0.EventType"), "an enum is no message type")
    assert.is_nil(schema:type(""))
  end)

  it("refuses anything else as a type", function()
    for _, value in ipairs{ "wgtwo.events.v0.Event", 5, {}, io.stdout, schema } do
      assert.error_matches(function() core.decode(value, "") end, "message type expected, got")
      assert.error_matches(function() core.encode(value, {}) end, "message type expected, got")
    end
  end)

  it("describes messages, with fields as they are declared", function()
    local message = schema:describe("wgtwo.events.v0.SmsEvent")
    assert.equal("message", message.kind)
    assert.same({ "from_address", "to_address", "content" }, message.oneofs)
    assert.same({ name = "id", number = 1, type = "string", label = "singular", json_name = "id" }, message.fields[1])
    assert.same({ name = "from_e164", number = 2, type = "message", type_name = "wgtwo.common.v0.PhoneNumber",
      label = "singular",
      json_name = "fromE164", oneof = "from_address" }, message.fields[2])
  end)

  it("describes maps, optional and repeated fields", function()
    local by_name = {}
    for _, field in ipairs(every_type.schema():describe("test.Every").fields) do by_name[field.name] = field end
    assert.equal("optional", by_name.o_int32.label)
    assert.is_nil(by_name.o_int32.oneof)
    assert.equal("repeated", by_name.r_int32.label)
    assert.is_true(by_name.m_message.map)
    assert.equal("string", by_name.m_message.key_type)
    assert.equal("test.Every", by_name.m_message.value_type_name)
    assert.equal("required", every_type.schema():describe("test.Old").fields[1].label)
  end)

  it("describes enums and services", function()
    local enum = schema:describe("wgtwo.common.v0.StatusCode")
    assert.equal("enum", enum.kind)
    assert.same({ name = "STATUS_CODE_OK", number = 1 }, enum.values[2])
    local service = schema:describe("wgtwo.events.v0.EventsService")
    assert.equal("service", service.kind)
    assert.equal("wgtwo.events.v0.EventsService/Subscribe", service.methods[1].name)
    assert.is_nil(schema:describe("wgtwo.events.v0"))
  end)

  it("lists its messages, without map entries, and its enums", function()
    local names = {}
    for _, name in ipairs(schema:types()) do names[name] = true end
    assert.is_true(names["wgtwo.consents.v0.Consent"])
    assert.is_nil(names["wgtwo.consents.v0.Consent.MetadataEntry"])
    assert.is_true(#schema:enums() > 10)
  end)

  it("stands beside another one, and both stay when nothing else holds them", function()
    local type = assert(core.schema(every_type.set())):type("test.Every")
    collectgarbage()
    collectgarbage()
    assert.equal(5, core.decode(type, core.encode(type, { int32 = 5 })).int32)
    assert.are_not.equal(type, every_type.schema():type("test.Every"))
  end)

  it("is there for the finalizers of a closing state, of what was made before it too", function()
    local script = [[
      guard = setmetatable({}, { __gc = function()
        io.write(message.sms_event.text, " ", tostring(core.type(message)))
      end })
      core = require("wgtwo.core")
      local type = require("wgtwo.schema").default():type("wgtwo.events.v0.Event")
      message = core.decode(type, core.encode(type, { sms_event = { text = "late" } }))
    ]]
    local result = process.lua(script)
    assert.is_true(result.ok)
    assert.equal("late wgtwo.events.v0.Event", result.output)
  end)

  it("shows itself in one line", function()
    assert.matches("^wgtwo%.schema %(%d+ messages, %d+ services%)$", tostring(schema))
  end)
end)

describe("documentation", function()
  local function location(path, comment) return { path = path, span = { 0, 0, 1 }, leading_comments = comment } end

  local set = every_type.encode_set{ { name = "a.proto", package = "p", syntax = "proto3",
    message_type = { { name = "M", field = { { name = "f", number = 1, type = "TYPE_INT32", label = "LABEL_OPTIONAL",
      oneof_index = 0 } },
      oneof_decl = { { name = "o" } }, nested_type = { { name = "N" } }, enum_type = { { name = "E",
        value = { { name = "X", number = 0 } } } } } },
    enum_type = { { name = "F", value = { { name = "Y", number = 0 } } } },
    service = { { name = "S", method = { { name = "Do", input_type = ".p.M", output_type = ".p.M" } } } },
    source_code_info = { location = {
      location({ 4, 0 }, " A message.\n Of two lines.\n"), location({ 4, 0, 2, 0 }, " A field.\n"), location({ 4, 0, 8,
        0 }, " A oneof.\n"),
      location({ 4, 0, 3, 0 }, " Nested.\n"), location({ 4, 0, 4, 0 }, " An enum inside.\n"), location({ 4, 0, 4, 0, 2,
        0 }, " Its value.\n"),
      location({ 5, 0 }, " An enum.\n"), location({ 5, 0, 2, 0 }, " A value.\n"), location({ 6, 0 }, " A service.\n"),
      location({ 6, 0, 2, 0 }, " A method.\n"), location({ 12 }, " The syntax.\n"), location({ 4, 7 }, " Nothing.\n"),
        location({ 4, -1 }, "x"),
      location({}, "file"), location({ 4, 0, 2, 0, 1 }, " A name.\n") } } } }

  it("is the comment in front of each definition", function()
    local documented = assert(core.schema(set))
    local want = { ["p.M"] = "A message.\nOf two lines.", ["p.M.f"] = "A field.", ["p.M.o"] = "A oneof.",
      ["p.M.N"] = "Nested.",
      ["p.M.E"] = "An enum inside.", ["p.M.E.X"] = "Its value.", ["p.F"] = "An enum.", ["p.F.Y"] = "A value.",
        ["p.S"] = "A service.",
      ["p.S.Do"] = "A method.", ["p.S/Do"] = "A method." }
    for name, text in pairs(want) do assert.equal(text, documented:documentation(name), name) end
    assert.is_nil(documented:documentation("p.M.g"))
  end)

  it("is nil where the set has none", function()
    assert.is_nil(every_type.schema():documentation("test.Every"))
  end)
end)
