local core = require "wgtwo.core"
local every_type = require "spec.support.every_type"
local schema = require("wgtwo.schema").default()

local Every = every_type.schema():type("test.Every")
local Event = schema:type("wgtwo.events.v0.Event")

local function refuses(reason, type, fields)
  assert.error_matches(function() core.encode(type, fields) end, reason, 1, false)
end

-- Every place of a kind: singular, optional, in a list, in a oneof, in a map.
local function everywhere(kind, value)
  return { { [kind] = value }, { ["o_" .. kind] = value }, { ["c_" .. kind] = value }, { ["r_" .. kind] = { value } },
    { ["m_" .. kind] = { a = value } } }
end

describe("encode checks the range of", function()
  local limits = {
    int32 = { -2147483648, 2147483647 }, sint32 = { -2147483648, 2147483647 }, sfixed32 = { -2147483648, 2147483647 },
    uint32 = { 0, 4294967295 }, fixed32 = { 0, 4294967295 }, enum = { -2147483648, 2147483647 },
  }
  for kind, limit in pairs(limits) do
    it(kind, function()
      for _, fields in ipairs(everywhere(kind, limit[1])) do core.encode(Every, fields) end
      for _, fields in ipairs(everywhere(kind, limit[2])) do core.encode(Every, fields) end
      for _, fields in ipairs(everywhere(kind, limit[1] - 1)) do
        refuses(kind .. ".*: %-?%d+ is out of the range of", Every, fields)
      end
      for _, fields in ipairs(everywhere(kind, limit[2] + 1)) do refuses(kind .. ".*: %d+ is out of the range of",
        Every, fields) end
      refuses("is out of the range of", Every, { [kind] = math.maxinteger })
      refuses("is out of the range of", Every, { [kind] = math.mininteger })
    end)
  end

  for _, kind in ipairs{ "int64", "uint64", "sint64", "fixed64", "sfixed64" } do
    it(kind .. ", which takes every Lua integer", function()
      for _, value in ipairs{ math.mininteger, -1, 0, math.maxinteger } do
        for _, fields in ipairs(everywhere(kind, value)) do core.encode(Every, fields) end
      end
      refuses("integer expected, got 9.2233720368548e%+18", Every, { [kind] = 2.0 ^ 63 })
    end)
  end

  it("float, which is narrower than a Lua number", function()
    core.encode(Every, { float = 3.4028234e38 })
    core.encode(Every, { float = math.huge })
    refuses("float: 3.5e%+38 is out of the range of float", Every, { float = 3.5e38 })
    core.encode(Every, { double = 3.5e38 })
  end)
end)

describe("encode takes", function()
  it("a float that is a whole number as an integer, and no other", function()
    assert.equal(core.encode(Every, { int32 = 3 }), core.encode(Every, { int32 = 3.0 }))
    refuses("int32: integer expected, got 3.5", Every, { int32 = 3.5 })
    refuses("int32: integer expected, got %-?nan", Every, { int32 = 0 / 0 })
    refuses("int32: integer expected, got string", Every, { int32 = "3" })
  end)

  it("an enum by name or by number, and names the nearest", function()
    assert.equal(core.encode(Every, { enum = 2 }), core.encode(Every, { enum = "GREEN" }))
    assert.equal(core.encode(Every, { enum = "GREEN" }), core.encode(Every, { enum = "VERDE" }))
    core.encode(Every, { enum = 1000 })
    refuses("enum: test.Colour has no value 'GREN' %(did you mean 'GREEN'%?%)", Every, { enum = "GREN" })
    refuses("enum: test.Colour has no value 'xyzzy' %(it has: NONE, .*%)$", Every, { enum = "xyzzy" })
    refuses("enum: enum name or number expected, got boolean", Every, { enum = true })
  end)

  it("what the type says, and nothing like it", function()
    refuses("string: string expected, got number", Every, { string = 5 })
    refuses("bytes: string expected, got table", Every, { bytes = {} })
    refuses("bool: boolean expected, got number", Every, { bool = 1 })
    refuses("double: number expected, got string", Every, { double = "1" })
    refuses("message: table or message %(test.Every%) expected, got string", Every, { message = "x" })
    refuses("message: table or message %(test.Every%) expected, got boolean", Every, { message = true })
    refuses("r_int32: sequence expected, got number", Every, { r_int32 = 1 })
    refuses("m_int32: table expected, got string", Every, { m_int32 = "x" })
    refuses("table or message %(test.Every%) expected, got nil", Every, nil)
    refuses("table or message %(test.Every%) expected, got userdata", Every, io.stdout)
    assert.error_matches(function() core.encode(Every) end, "value expected")
  end)

  it("valid UTF-8 without NUL in strings, anything in bytes", function()
    local bad = { "\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
      "abcdefgh\x80", ("x"):rep(17) .. "\xe2\x82" }
    for _, text in ipairs(bad) do
      for _, fields in ipairs(everywhere("string", text)) do
        refuses("string.*: a string must be valid UTF%-8", Every, fields)
      end
      refuses("m_int32: a string must be valid UTF%-8", Every, { m_int32 = { [text] = 1 } })
      core.encode(Every, { bytes = text })
    end
    for _, text in ipairs{ "\0", "a\0b", ("x"):rep(8) .. "\0", ("x"):rep(20) .. "\0" .. ("x"):rep(20),
      ("x"):rep(9) .. "\0" } do
      for _, fields in ipairs(everywhere("string", text)) do
        refuses("string.*: a string must not have '\\0' in it", Every, fields)
      end
      core.encode(Every, { bytes = text })
    end
    for _, text in ipairs{ "", "\u{7f}", "\u{80}", "\u{7ff}\u{800}", "\u{d7ff}\u{e000}", "\u{ffff}\u{10000}\u{10ffff}",
      ("å"):rep(100) } do
      core.encode(Every, { string = text })
    end
  end)

  it("sequences, without holes and other keys", function()
    core.encode(Every, { r_int32 = {} })
    refuses("r_int32: sequence expected, got a table with holes", Every, { r_int32 = { 1, nil, 3 } })
    refuses("r_int32: sequence expected, got a table with a string key", Every, { r_int32 = { 1, x = 2 } })
    refuses("r_message: sequence expected, got a table with a string key", Every, { r_message = { int32 = 1 } })
    refuses("r_int32: sequence expected, got a table with holes", Every, { r_int32 = { [0] = 1 } })
    refuses("r_int32%[2%]: integer expected, got string", Every, { r_int32 = { 1, "x" } })
    refuses("r_int32%[1%]: integer expected, got null", Every, { r_int32 = { core.null } })
    local many = {}
    for i = 1, 1000 do many[i] = i end
    assert.same(many, core.decode(Every, core.encode(Every, { r_int32 = many })).r_int32)
  end)

  it("maps, whose keys are of the right type", function()
    refuses("k_int32: integer expected, got string", Every, { k_int32 = { a = 1 } })
    refuses("k_string: string expected, got number", Every, { k_string = { 5 } })
    refuses("k_bool: boolean expected, got number", Every, { k_bool = { 5 } })
    refuses("k_uint32: %-1 is out of the range of uint32", Every, { k_uint32 = { [-1] = 1 } })
    refuses('m_message%["a"%].int32: integer expected, got string', Every, { m_message = { a = { int32 = "x" } } })
    refuses("k_int32%[7%]: integer expected, got string", Every, { k_int32 = { [7] = "x" } })
  end)

  it("one member of a oneof, and says which two there are", function()
    refuses("c_%w+: c_%w+ and c_%w+ are both set, of the oneof choice only one may be", Every, { c_int32 = 0,
      c_string = "" })
    refuses("message.c_%w+: c_%w+ and c_%w+ are both set", Every, { message = { c_int32 = 1, c_message = {} } })
    core.encode(Every, { c_int32 = 0, c_string = core.null })
  end)

  it("nothing under a name that is no field's, and names the nearest", function()
    refuses("wgtwo.events.v0.Event has no field 'smsEvent' %(did you mean 'sms_event'%?%)", Event, { smsEvent = {} })
    refuses("sms_event: wgtwo.events.v0.SmsEvent has no field 'txt' %(did you mean 'text'%?%)", Event,
      { sms_event = { txt = "x" } })
    refuses("wgtwo.events.v0.Event has no field 'xyzzy' %(it has: metadata, .*, …%)$", Event, { xyzzy = 1 })
    refuses("wgtwo.events.v0.Event has no field of a number's name", Event, { "x" })
  end)

  it("null for what is not set", function()
    assert.equal("", core.encode(Every, { int32 = core.null, message = core.null, r_int32 = core.null,
      m_int32 = core.null }))
  end)

  it("every required field of proto2, and says which is missing", function()
    local Old = every_type.schema():type("test.Old")
    core.encode(Old, { required_number = 0 })
    refuses("test.Old: the required field required_number is not set", Old, {})
  end)
end)

describe("the path in an error", function()
  it("leads through messages, lists and maps", function()
    refuses("^sms_event.from_e164.e164: string expected, got number$", Event,
      { sms_event = { from_e164 = { e164 = 5 } } })
    refuses('^r_message%[2%].m_message%["k"%].message.r_string%[1%]: a string must be valid UTF%-8$', Every,
      { r_message = { {}, { m_message = { k = { message = { r_string = { "\xff" } } } } } } })
  end)

  it("is cut when it is endless, and the reason still stands", function()
    local fields = { string = 5 }
    for _ = 1, 90 do fields = { message = fields } end
    refuses("^message.message.*: string expected, got number$", Every, fields)
    refuses("has no field", Every, { [("x"):rep(10000)] = 1 })
    refuses("has no value", Every, { enum = ("x"):rep(10000) })
  end)
end)

describe("encode writes", function()
  it("the bytes that protoc writes", function()
    local event = core.encode(Event, { sms_event = { text = "hi", id = "x", direction = 1,
      from_e164 = { e164 = "+47" } },
      metadata = { sequence = 300 }, timestamp = 1.5 })
    assert.equal("\n\3\8\xac\2\x12\8\8\1\x10\x80\xca\xb5\xee\1J\16\n\1x\18\5\n\3+47@\1J\2hi", event)
  end)

  it("defaults only where there is presence", function()
    local zeroes = { double = 0.0, float = 0.0, int64 = 0, uint64 = 0, int32 = 0, fixed64 = 0, fixed32 = 0,
      bool = false, string = "",
      bytes = "", uint32 = 0, sfixed32 = 0, sfixed64 = 0, sint32 = 0, sint64 = 0, enum = 0 }
    for kind, zero in pairs(zeroes) do
      assert.equal("", core.encode(Every, { [kind] = zero }))
      assert.is_true(#core.encode(Every, { ["o_" .. kind] = zero }) > 0)
      assert.is_true(#core.encode(Every, { ["c_" .. kind] = zero }) > 0)
      assert.is_true(#core.encode(Every, { ["m_" .. kind] = { [""] = zero } }) > 4)
    end
    assert.is_true(#core.encode(Every, { double = -0.0 }) > 0)
  end)

  it("equal maps as equal bytes", function()
    local a, b = {}, {}
    for i = 1, 50 do a["k" .. i] = i end
    for i = 50, 1, -1 do b["k" .. i] = i end
    assert.equal(core.encode(Every, { m_int32 = a }), core.encode(Every, { m_int32 = b }))
  end)

  it("packed lists, and unpacked ones where the set says so", function()
    assert.equal(#core.encode(Every, { r_int32 = { 1, 2, 3 } }) + 1, #core.encode(Every, { u_int32 = { 1, 2, 3 } }) - 2)
    local Old = every_type.schema():type("test.Old")
    assert.same({ 1, 2 }, core.decode(Old, core.encode(Old, { required_number = 1, list = { 1, 2 } })).list)
    assert.is_true(#core.encode(Old, { required_number = 1, list = { 1, 2, 3 } })
      > #core.encode(Old, { required_number = 1, packed_list = { 1, 2, 3 } }))
  end)
end)

describe("a message stands for", function()
  local number = assert(core.decode(schema:type("wgtwo.common.v0.PhoneNumber"),
    core.encode(schema:type("wgtwo.common.v0.PhoneNumber"), { e164 = "+4799990000" })))

  it("a submessage, a view too, and the whole", function()
    local event = assert(core.decode(Event, core.encode(Event, { sms_event = { from_e164 = number,
      to_e164 = { e164 = "+46" } } })))
    assert.equal("+4799990000", event.sms_event.from_e164.e164)
    local owner = core.encode(Event, { owner = { phone_number = event.sms_event.from_e164 } })
    assert.equal("+4799990000", core.decode(Event, owner).owner.phone_number.e164)
    assert.equal(core.bytes(event), core.encode(Event, event))
    local empty = core.decode(schema:type("wgtwo.common.v0.PhoneNumber"), "")
    assert.equal("", core.decode(Event, core.encode(Event,
      { owner = { phone_number = empty } })).owner.phone_number.e164)
  end)

  it("no other type", function()
    refuses("owner.phone_number: wgtwo.common.v0.PhoneNumber expected, got a message wgtwo.events.v0.Event", Event,
      { owner = { phone_number = core.decode(Event, "") } })
    refuses("wgtwo.events.v0.Event expected, got a message wgtwo.common.v0.PhoneNumber", Event, number)
  end)

  it("the same type of another schema, when its bytes fit", function()
    local other = assert(core.schema(every_type.set())):type("test.Every")
    local m = assert(core.decode(other, core.encode(other, { int32 = 5 })))
    assert.equal(5, core.decode(Every, core.encode(Every, { message = m })).message.int32)
  end)
end)

describe("a Timestamp or Duration is taken from", function()
  local function stamp(value) return core.decode(Every, core.encode(Every, { w_Timestamp = value })).w_Timestamp end
  local function span(value) return core.decode(Every, core.encode(Every, { w_Duration = value })).w_Duration end

  it("a number of seconds", function()
    assert.same({ seconds = 1700000000, nanos = 0 }, stamp(1700000000))
    assert.same({ seconds = 1700000000, nanos = 123000000 }, stamp(1700000000.123))
    assert.same({ seconds = -1, nanos = 500000000 }, stamp(-0.5))
    assert.same({ seconds = 0, nanos = -500000000 }, span(-0.5))
    assert.same({ seconds = -1, nanos = -500000000 }, span(-1.5))
    assert.same({ seconds = 1, nanos = 1 }, span(1.000000001))
    assert.same({ seconds = 1, nanos = 0 }, span(0.9999999999))
    assert.same({ seconds = 3600, nanos = 0 }, span(3600))
  end)

  it("a table", function()
    assert.same({ seconds = 5, nanos = 6 }, stamp{ seconds = 5, nanos = 6 })
    assert.same({ seconds = 5, nanos = 0 }, span{ seconds = 5 })
  end)

  it("JSON's text", function()
    assert.same({ seconds = 0, nanos = 0 }, stamp("1970-01-01T00:00:00Z"))
    assert.same({ seconds = 68244020, nanos = 21000000 }, stamp("1972-02-29T21:40:20.021+01:00"))
    assert.same({ seconds = -3, nanos = -500000000 }, span("-3.5s"))
    assert.same({ seconds = 0, nanos = 1 }, span("0.000000001s"))
  end)

  it("a message", function()
    local Timestamp = schema:type("google.protobuf.Timestamp")
    assert.same({ seconds = 7, nanos = 0 }, stamp(core.decode(Timestamp, core.encode(Timestamp, 7))))
    assert.same({ seconds = 7, nanos = 0 }, stamp(every_type.schema() and stamp(7)))
  end)

  it("nothing out of range", function()
    for _, value in ipairs{ 253402300800, -62135596801, 1e300, 0 / 0, math.huge, { seconds = 0, nanos = 1000000000 },
      { nanos = -1 } } do
      refuses("w_Timestamp: .* out of the range of google.protobuf.Timestamp", Every, { w_Timestamp = value })
    end
    core.encode(Every, { w_Timestamp = 253402300799 })
    core.encode(Every, { w_Timestamp = -62135596800 })
    for _, value in ipairs{ 315576000001, -315576000001, { seconds = 1, nanos = -1 }, { seconds = -1, nanos = 1 },
      math.huge } do
      refuses("w_Duration: .* out of the range of google.protobuf.Duration", Every, { w_Duration = value })
    end
    core.encode(Every, { w_Duration = 315576000000 })
  end)

  it("no text that is none", function()
    for _, text in ipairs{ "", "now", "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z",
      "2024-00-01T00:00:00Z",
      "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z", "2024-01-01T00:00:00",
        "2024-01-01 00:00:00Z",
      "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00.1234567890Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00Zx",
      "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01" } do
      refuses("w_Timestamp: '.*' is no timestamp", Every, { w_Timestamp = text })
    end
    for _, text in ipairs{ "", "s", "1", "1.s", ".5s", "1.0000000001s", "--1s", "1s ", "9999999999999s",
      "315576000001s" } do
      refuses("w_Duration: '.*' is no duration", Every, { w_Duration = text })
    end
    refuses("w_Duration: seconds, table or text expected, got boolean", Every, { w_Duration = true })
  end)
end)

describe("after an error", function()
  it("encoding goes on, and no memory is lost", function()
    local long = {}
    for i = 1, 200 do long[i] = { string = "x" } end
    long[200] = { string = 5 }
    local function fail()
      assert.is_false((pcall(core.encode, Every, { r_message = long })))
      assert.equal(5, core.decode(Every, core.encode(Every, { int32 = 5 })).int32)
    end
    fail()
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    for _ = 1, 500 do fail() end
    collectgarbage()
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 200)
  end)
end)
