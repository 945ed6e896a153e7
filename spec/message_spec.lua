local collector = require "spec.support.collector"
local core = require "wgtwo.core"
local every_type = require "spec.support.every_type"
local schema = require("wgtwo.schema").default()

local Every = every_type.schema():type("test.Every")
local Event = schema:type("wgtwo.events.v0.Event")

local function every(fields)
  return assert(core.decode(Every, core.encode(Every, fields)))
end

-- The number of a field of test.Every, as a tag of this wire type.
local numbers = {}
for _, field in ipairs(every_type.schema():describe("test.Every").fields) do numbers[field.name] = field.number end

local function varint(value)
  local out = {}
  repeat
    out[#out + 1] = string.char(value & 127 | (value >> 7 ~= 0 and 128 or 0))
    value = value >> 7
  until value == 0
  return table.concat(out)
end

local function tag(name, wire_type) return varint(numbers[name] << 3 | wire_type) end

local function raw(bytes) return assert(core.decode(Every, bytes)) end

describe("a message", function()
  local event = assert(core.decode(Event, core.encode(Event, {
    metadata = { sequence = 12345, is_redelivered = true }, timestamp = { seconds = 1700000000, nanos = 123000000 },
    sms_event = { id = "abc", from_e164 = { e164 = "+4799990000" }, direction = "FROM_SUBSCRIBER", text = "hi" },
  })))

  it("gives its fields by name", function()
    assert.equal(12345, event.metadata.sequence)
    assert.is_true(event.metadata.is_redelivered)
    assert.equal("+4799990000", event.sms_event.from_e164.e164)
    assert.equal("FROM_SUBSCRIBER", event.sms_event.direction)
  end)

  it("gives nothing else, and names the nearest field", function()
    assert.error_matches(function() return event.sms_evnt end,
      "wgtwo.events.v0.Event has no field 'sms_evnt' %(did you mean 'sms_event'%?%)")
    assert.error_matches(function() return event.smsEvent end, "did you mean 'sms_event'")
    assert.error_matches(function() return event.totable end, "wgtwo.events.v0.Event has no field 'totable'")
    assert.error_matches(function() return event[1] end, "no field of a number's name")
    assert.error_matches(function() return event["x\0y"] end, "has no field")
  end)

  it("says which fields it has where no name is near: the first eight", function()
    assert.error_matches(function() return event.xyzzy end, "has no field 'xyzzy' %(it has: metadata, timestamp, " ..
      "service_id, voice_event, voicemail_event, location_update_event, country_change_event, token_audit_event, …%)$")
    assert.error_matches(function() return event.metadata.xyzzy end,
      "has no field 'xyzzy' %(it has: sequence, is_redelivered, ack_inbox%)$")
    assert.error_matches(function() return every{ w_Empty = {} }.w_Empty.xyzzy end,
      "google.protobuf.Empty has no field 'xyzzy' %(it has none%)$")
  end)

  it("cannot be changed", function()
    assert.error_matches(function() event.service_id = "x" end, "cannot be changed")
    assert.equal("wgtwo.message", getmetatable(event))
  end)

  it("shows its type and size, and nothing of what it says", function()
    assert.equal(("wgtwo.events.v0.Event (%d bytes)"):format(#core.bytes(event)), tostring(event))
    assert.matches("^wgtwo.events.v0.SmsEvent %(%d+ bytes%)$", tostring(event.sms_event))
  end)

  it("is equal to another one of the same type and bytes", function()
    assert.equal(event, core.decode(Event, core.bytes(event)))
    assert.equal(event.sms_event, event.sms_event)
    assert.are_not.equal(event, core.decode(Event, ""))
    assert.are_not.equal(core.decode(Event, ""), core.decode(Every, ""))
    assert.are_not.equal(event, "x")
  end)

  it("is walked by pairs: the fields that are set, by their numbers", function()
    local names = {}
    for name, value in pairs(event) do
      names[#names + 1] = name
      assert.is_not_nil(value)
    end
    assert.same({ "metadata", "timestamp", "sms_event" }, names)
    for _ in pairs(core.decode(Event, "")) do error("nothing is set") end
  end)

  it("keeps its bytes alive through any view of it", function()
    local function texts()
      local made = core.decode(Event, core.encode(Event, { sms_event = { from_e164 = { e164 = ("5"):rep(1000) } } }))
      return made.sms_event, made.sms_event.from_e164
    end
    local sms, number = texts()
    for _ = 1, 3 do collectgarbage() end
    for _ = 1, 100 do local _ = ("x"):rep(1200) end
    assert.equal(("5"):rep(1000), number.e164)
    assert.equal(number, sms.from_e164)
  end)

  it("tells its type, by name and by handle, and its bytes", function()
    assert.equal("wgtwo.events.v0.Event", core.typename(event))
    assert.equal(Event, core.type(event))
    assert.equal("wgtwo.events.v0.SmsEvent", core.typename(event.sms_event))
    assert.is_true(core.is_message(event.sms_event))
    for _, value in ipairs{ 5, "x", {}, io.stdout, Event, schema,
      core.null } do assert.is_false(core.is_message(value)) end
    assert.error_matches(function() core.typename({}) end, "message expected, got table")
    assert.error_matches(function() core.bytes(io.stdout) end, "message expected, got FILE")
  end)

  it("has its metamethods for itself", function()
    local index = debug.getmetatable(event).__index
    for _, value in ipairs{ "x", ("x"):rep(200), {}, io.stdout, Event, 5 } do
      assert.error_matches(function() index(value, "metadata") end, "message expected")
    end
  end)
end)

describe("reading scalars", function()
  local numeric = {
    int32 = { -2147483648, -1, 0, 1, 2147483647 }, sint32 = { -2147483648, -1, 0, 1, 2147483647 },
      sfixed32 = { -2147483648, -1, 2147483647 },
    int64 = { math.mininteger, -1, 0, math.maxinteger }, sint64 = { math.mininteger, -1, math.maxinteger },
    sfixed64 = { math.mininteger, -1, math.maxinteger }, uint32 = { 0, 1, 4294967295 }, fixed32 = { 0, 4294967295 },
    uint64 = { 0, 1, math.maxinteger, -1, math.mininteger }, fixed64 = { 0, -1, math.mininteger },
    double = { 0.0, -1.5, 1e308, 5e-324, math.huge, -math.huge }, float = { 0.0, -1.5, 2.0 ^ 100, math.huge },
  }
  for kind, values in pairs(numeric) do
    it("gives " .. kind .. " back at its limits, in every place that it may stand", function()
      for _, value in ipairs(values) do
        assert.equal(value, every({ [kind] = value })[kind])
        assert.equal(value, every({ ["o_" .. kind] = value })["o_" .. kind])
        assert.equal(value, every({ ["c_" .. kind] = value })["c_" .. kind])
        assert.equal(math.type(value), math.type(every({ [kind] = value })[kind]))
      end
      assert.same(values, every({ ["r_" .. kind] = values })["r_" .. kind])
      assert.same(values, every({ ["u_" .. kind] = values })["u_" .. kind])
      assert.same({ a = values[2] }, every({ ["m_" .. kind] = { a = values[2] } })["m_" .. kind])
    end)
  end

  it("gives strings and bytes back, NUL and all in bytes", function()
    for _, text in ipairs{ "", "a", "blåbærsyltetøy", "\u{10FFFF}\u{1F600}", ("x"):rep(100000) } do
      assert.equal(text, every({ string = text }).string)
    end
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    assert.equal(table.concat(all), every({ bytes = table.concat(all) }).bytes)
    assert.same({ "", "a\0b" }, every({ r_bytes = { "", "a\0b" } }).r_bytes)
  end)

  it("gives NaN and minus zero back", function()
    local m = every{ double = 0 / 0, float = -0.0, r_double = { -0.0 } }
    assert.is_true(m.double ~= m.double)
    assert.equal("-inf", tostring(1 / m.float))
    assert.equal("-inf", tostring(1 / m.r_double[1]))
  end)

  it("gives an enum its name, of aliases the first; an unknown number stays a number", function()
    assert.equal("RED", every({ enum = 1 }).enum)
    assert.equal("GREEN", every({ enum = "VERDE" }).enum)
    assert.equal("MINUS", every({ enum = -1 }).enum)
    assert.equal(99, every({ enum = 99 }).enum)
    assert.same({ "NONE", 77, "RED" }, every({ r_enum = { 0, 77, "RED" } }).r_enum)
  end)

  it("gives the default of what is not set; has tells", function()
    local m = every{}
    local defaults = { double = 0.0, float = 0.0, int64 = 0, uint64 = 0, int32 = 0, fixed64 = 0, fixed32 = 0,
      bool = false, string = "",
      bytes = "", uint32 = 0, sfixed32 = 0, sfixed64 = 0, sint32 = 0, sint64 = 0, enum = "NONE" }
    for kind, default in pairs(defaults) do
      assert.equal(default, m[kind])
      assert.equal(default, m["o_" .. kind])
      assert.is_false(core.has(m, kind))
      assert.is_false(core.has(m, "o_" .. kind))
      assert.is_true(core.has(every({ ["o_" .. kind] = default }), "o_" .. kind))
      assert.is_false(core.has(every({ [kind] = default }), kind), "a default without presence is not set")
      assert.same({}, m["r_" .. kind])
      assert.same({}, m["m_" .. kind])
      assert.is_false(core.has(m, "r_" .. kind))
    end
    assert.is_nil(m.message)
    assert.is_nil(m.o_message)
    assert.is_true(core.has(every({ message = {} }), "message"))
    assert.is_true(core.has(every({ r_int32 = { 0 } }), "r_int32"))
    assert.error_matches(function() core.has(m, "stringg") end, "did you mean 'string'")
  end)

  it("gives proto2's defaults, and keeps zeroes that were sent", function()
    local Old = every_type.schema():type("test.Old")
    local m = assert(core.decode(Old, ""))
    assert.equal(-7, m.number)
    assert.equal(-1, m.big)
    assert.equal("blåbær", m.text)
    assert.equal("\1A\n\"", m.bytes)
    assert.equal(-1.5, m.ratio)
    assert.equal(math.huge, m.endless)
    assert.is_true(m.yes)
    assert.equal("GREEN", m.colour)
    assert.equal("RED", m.first_colour)
    local zero = assert(core.decode(Old, core.encode(Old, { required_number = 0, number = 0, yes = false, text = "" })))
    assert.equal(0, zero.number)
    assert.is_false(zero.yes)
    assert.equal("", zero.text)
    assert.is_true(core.has(zero, "number"))
    assert.is_false(core.has(m, "number"))
  end)
end)

describe("reading messages in messages", function()
  it("gives lists and maps of messages, and they may be sent on", function()
    local m = every{ r_message = { { int32 = 1 }, {}, { string = "x" } }, m_message = { a = { int32 = 5 }, b = {} } }
    assert.equal(3, #m.r_message)
    assert.equal(1, m.r_message[1].int32)
    assert.equal("x", m.r_message[3].string)
    assert.equal(5, m.m_message.a.int32)
    assert.equal(0, m.m_message.b.int32)
    assert.equal(core.bytes(m), core.encode(Every, { r_message = m.r_message, m_message = m.m_message }))
  end)

  it("gives maps their keys as what they are", function()
    local m = every{ k_bool = { [true] = 1, [false] = 2 }, k_int64 = { [math.mininteger] = 3 }, k_uint64 = { [-1] = 4 },
      k_string = { [""] = 5 }, k_sint32 = { [-3] = 6 }, k_fixed32 = { [4294967295] = 7 } }
    assert.same({ [true] = 1, [false] = 2 }, m.k_bool)
    assert.same({ [math.mininteger] = 3 }, m.k_int64)
    assert.same({ [-1] = 4 }, m.k_uint64)
    assert.same({ [""] = 5 }, m.k_string)
    assert.same({ [-3] = 6 }, m.k_sint32)
    assert.same({ [4294967295] = 7 }, m.k_fixed32)
  end)

  it("gives a Timestamp and a Duration as tables of seconds and nanos", function()
    local m = every{ w_Timestamp = { seconds = -5, nanos = 7 }, w_Duration = { seconds = 0, nanos = -1 } }
    assert.same({ seconds = -5, nanos = 7 }, m.w_Timestamp)
    assert.same({ seconds = 0, nanos = -1 }, m.w_Duration)
    assert.same({ seconds = 0, nanos = 0 }, every({ w_Timestamp = {} }).w_Timestamp)
    assert.is_nil(every({}).w_Timestamp)
  end)

  it("gives of a oneof the member that is set, and nil for the others", function()
    local m = every{ c_string = "" }
    assert.equal("c_string", core.which(m, "choice"))
    assert.equal("", m.c_string)
    assert.is_nil(m.c_int32)
    assert.is_nil(m.c_message)
    assert.is_nil(core.which(every{}, "choice"))
    assert.is_true(core.has(m, "c_string"))
    assert.is_false(core.has(m, "c_int32"))
    assert.error_matches(function() core.which(m, "chioce") end, "has no oneof 'chioce' %(did you mean 'choice'%?%)")
    assert.error_matches(function() core.which(m, "xyzzy") end, "has no oneof 'xyzzy' %(it has: choice%)")
    assert.error_matches(function() core.which(m, "_o_int32") end, "has no oneof", 1, true)
  end)
end)

describe("what stands on the wire more than once", function()
  it("is the last one, of scalars", function()
    assert.equal(2, raw(core.encode(Every, { int32 = 1 }) .. core.encode(Every, { int32 = 2 })).int32)
    assert.equal("", raw(core.encode(Every, { string = "a" }) .. tag("string", 2) .. "\0").string)
    assert.same({}, core.totable(raw(core.encode(Every, { string = "a" }) .. tag("string", 2) .. "\0")))
  end)

  it("is the last member, of a oneof, and that one whole", function()
    local first, second = core.encode(Every, { c_message = { int32 = 1 } }), core.encode(Every,
      { c_message = { string = "x" } })
    local m = raw(first .. core.encode(Every, { c_string = "s" }))
    assert.equal("c_string", core.which(m, "choice"))
    assert.is_nil(m.c_message)
    m = raw(first .. second)
    assert.equal("x", m.c_message.string)
    assert.equal(0, m.c_message.int32)
    assert.same({ c_message = { string = "x" } }, core.totable(m))
  end)

  it("is merged, of a submessage, also where protobuf-c fails to: with a oneof that is set in neither", function()
    local m = raw(core.encode(Every, { message = { int32 = 1, r_int32 = { 1 } } })
      .. core.encode(Every, { message = { int32 = 2, string = "x", r_int32 = { 2 }, message = { int64 = 1 } } })
      .. core.encode(Every, { message = { message = { string = "y" } } }))
    assert.equal(2, m.message.int32)
    assert.equal("x", m.message.string)
    assert.same({ 1, 2 }, m.message.r_int32)
    assert.equal(1, m.message.message.int64)
    assert.equal("y", m.message.message.string)
    assert.same({ message = { int32 = 2, string = "x", r_int32 = { 1, 2 }, message = { int64 = 1, string = "y" } } },
      core.totable(m))
    assert.same(core.totable(m), core.totable(core.fromjson(Every, core.tojson(m))))
  end)

  it("is one table, of a Timestamp", function()
    local m = raw(core.encode(Every, { w_Timestamp = { seconds = 5 } }) .. core.encode(Every,
      { w_Timestamp = { nanos = 6 } }))
    assert.same({ seconds = 5, nanos = 6 }, m.w_Timestamp)
    assert.same({ w_Timestamp = { seconds = 5, nanos = 6 } }, core.totable(m))
  end)

  it("is all of it, of lists, packed or not or both", function()
    local packed = tag("r_int32", 2) .. "\2\1\2"
    local loose = tag("r_int32", 0) .. "\3"
    assert.same({ 1, 2, 3, 1, 2 }, raw(packed .. loose .. packed).r_int32)
    assert.same({ 3 }, raw(loose).r_int32)
    assert.same({ 1, 2 }, raw(tag("u_int32", 2) .. "\2\1\2").u_int32)
    assert.same({}, raw(tag("r_int32", 2) .. "\0").r_int32)
    assert.same({}, core.totable(raw(tag("r_int32", 2) .. "\0")))
  end)

  it("is the last value, of a map's key; a missing key or value is its default", function()
    local one, two = core.encode(Every, { m_int32 = { a = 1 } }), core.encode(Every, { m_int32 = { a = 2 } })
    assert.same({ a = 2 }, raw(one .. two).m_int32)
    assert.equal('{"mInt32":{"a":2}}', core.tojson(raw(one .. two)))
    local empty = tag("m_int32", 2) .. "\0"
    assert.same({ [""] = 0 }, raw(empty).m_int32)
    assert.equal("NONE", raw(tag("m_enum", 2) .. "\0").m_enum[""])
    assert.equal(0, raw(tag("m_message", 2) .. "\0").m_message[""].int32)
    assert.equal("{\"mMessage\":{\"\":{}}}", core.tojson(raw(tag("m_message", 2) .. "\0")))
  end)

  it("is left alone when it is unknown, and sent on", function()
    local unknown = varint(5000 << 3 | 2) .. "\2hi" .. varint(5001 << 3) .. "\7"
    local m = raw(core.encode(Every, { int32 = 1 }) .. unknown)
    assert.equal(1, m.int32)
    assert.same({ int32 = 1 }, core.totable(m))
    assert.equal(core.bytes(m), core.encode(Every, m))
    assert.equal(core.bytes(m), core.bytes(raw(core.encode(Every, { message = m })).message))
  end)
end)

describe("totable", function()
  it("gives the fields that are set, and what it gives can be sent again", function()
    local fields = { int32 = 5, string = "x", enum = "RED", r_message = { { int32 = 1 }, {} },
      m_message = { a = { bool = true } },
      c_bytes = "\0", o_int32 = 0, w_Timestamp = { seconds = 1, nanos = 2 }, k_bool = { [true] = 1 },
        r_double = { 1.5 } }
    local m = every(fields)
    assert.same(fields, core.totable(m))
    assert.equal(core.bytes(m), core.encode(Every, core.totable(m)))
    assert.same({}, core.totable(every{}))
  end)

  it("survives a finalizer that uses the core while tables are made", function()
    local m = every{ r_message = (function()
      local list = {}
      for i = 1, 40 do list[i] = { int32 = i, message = { string = "x" .. i } } end
      return list
    end)() }
    collector.restless()
    local stop, ran = false, 0
    local function again()
      setmetatable({}, { __gc = function()
        core.encode(Every, { string = ("z"):rep(5000) })
        core.tojson(m)
        ran = ran + 1
        if not stop then again() end
      end })
    end
    again()
    for _ = 1, 5 do
      assert.equal(core.bytes(m), core.encode(Every, core.totable(m)))
      assert.equal(40, #core.fromjson(Every, core.tojson(m)).r_message)
    end
    stop = true
    collectgarbage()
    collector.rest()
    assert.is_true(ran > 0)
  end)
end)
