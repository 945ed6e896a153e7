local core = require "wgtwo.core"
local every_type = require "spec.support.every_type"
local schema = require("wgtwo.schema").default()

local Every = every_type.schema():type("test.Every")
local Event = schema:type("wgtwo.events.v0.Event")

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

local function wrap(name, bytes) return tag(name, 2) .. varint(#bytes) .. bytes end

local function refuses(reason, bytes)
  local message, text = core.decode(Every, bytes)
  assert.is_nil(message, reason)
  assert.equal(("test.Every: %d bytes are no valid message: %s"):format(#bytes, reason), text)
end

local function accepts(bytes) return assert(core.decode(Every, bytes)) end

describe("decode refuses, naming the type and the byte count,", function()
  it("every message that is cut inside of a field", function()
    local bytes = core.encode(Every, { int32 = 300, string = "hello", r_int32 = { 1, 300 }, message = { double = 1.5,
      fixed32 = 7 } })
    local whole = 0
    for len = 0, #bytes do
      local message, text = core.decode(Every, bytes:sub(1, len))
      if message then whole = whole + 1
      else assert.matches(("^test.Every: %d bytes are no valid message: "):format(len), text) end
    end
    assert.equal(5, whole, "it is one only between its four fields")
  end)

  it("tags that are none", function()
    refuses("a tag that is none", "\0")
    refuses("a tag that is none", "\7\0")
    refuses("a tag that is none", "\x80")
    refuses("a tag that is none", "\xff\xff\xff\xff\xff\1")
    accepts("\x80\0\1") -- protobuf-c takes a zero field number that is written long
    accepts("\xf8\xff\xff\xff\x7f\1")
  end)

  it("lengths that lead out of the message, or are endless", function()
    refuses("a field that is cut off", tag("string", 2) .. "\5abcd")
    refuses("a field that is cut off", tag("string", 2))
    refuses("a field that is cut off", tag("string", 2) .. "\xff\xff\xff\xff\x0f")
    refuses("a field that is cut off", tag("string", 2) .. "\x80\x80\x80\x80\x80\0")
    refuses("a field that is cut off", tag("string", 2) .. varint(math.maxinteger))
    accepts(tag("string", 2) .. "\x81\x80\x80\x80\0a")
  end)

  it("numbers that do not end, also packed ones and unknown ones", function()
    refuses("a number that does not end", tag("int32", 0))
    refuses("a number that does not end", tag("int32", 0) .. ("\xff"):rep(10) .. "\1")
    refuses("a number that does not end", varint(5000 << 3) .. ("\xff"):rep(10) .. "\1")
    refuses("a number that does not end", wrap("r_int32", "\1\x80"))
    refuses("a number that does not end", wrap("r_int32", ("\xff"):rep(10) .. "\1"))
    assert.equal(-1, accepts(tag("int32", 0) .. ("\xff"):rep(9) .. "\1").int32)
    refuses("a field that is cut off", tag("double", 1) .. "1234567")
    refuses("a field that is cut off", tag("float", 5) .. "123")
  end)

  it("packed lists of a length that does not fit", function()
    refuses("a packed list of the wrong length", wrap("r_double", "1234567"))
    refuses("a packed list of the wrong length", wrap("r_fixed32", "12345"))
    accepts(wrap("r_double", ""))
  end)

  it("wire types that a field does not have", function()
    refuses("a field with the wrong wire type", tag("int32", 2) .. "\1a")
    refuses("a field with the wrong wire type", tag("int32", 1) .. "12345678")
    refuses("a field with the wrong wire type", tag("string", 0) .. "\1")
    refuses("a field with the wrong wire type", tag("message", 0) .. "\1")
    refuses("a field with the wrong wire type", tag("r_string", 0) .. "\1")
    refuses("a field with the wrong wire type", tag("r_int32", 5) .. "1234")
    refuses("a field with the wrong wire type", tag("double", 5) .. "1234")
  end)

  it("groups, known and unknown", function()
    refuses("a group, which is not supported", tag("int32", 3))
    refuses("a group, which is not supported", varint(5000 << 3 | 3) .. varint(5000 << 3 | 4))
    refuses("a group, which is not supported", "\14")
  end)

  it("all of that in submessages, lists of them and maps too", function()
    for _, name in ipairs{ "message", "o_message", "c_message", "r_message", "m_message" } do
      refuses("a tag that is none", wrap(name, "\0"))
    end
    refuses("a field with the wrong wire type", wrap("m_int32", "\8\1"))
  end)

  it("messages nested more than 100 deep", function()
    local bytes = ""
    for _ = 1, 100 do bytes = wrap("message", bytes) end
    accepts(bytes)
    refuses("messages nested too deep", wrap("message", bytes))
    refuses("messages nested too deep", (function()
      local deep = ""
      for _ = 1, 100000 // 3 do deep = wrap("message", deep) end
      return deep
    end)())
  end)
end)

describe("decode takes", function()
  it("a bool of any wire type, as protobuf-c does", function()
    assert.is_true(accepts(tag("bool", 2) .. "\1\0").bool)
    assert.is_false(accepts(tag("bool", 2) .. "\0").bool)
    assert.is_true(accepts(tag("bool", 1) .. "\0\0\0\0\0\0\0\1").bool)
    assert.is_false(accepts(tag("bool", 5) .. "\0\0\0\x80").bool)
    assert.is_true(accepts(tag("bool", 0) .. "\x80\1").bool)
    assert.is_false(accepts(tag("bool", 0) .. "\x80\0").bool)
  end)

  it("numbers wider than their field, of which the low bits count", function()
    assert.equal(1, accepts(tag("int32", 0) .. varint(0x100000001)).int32)
    assert.equal(0xffffffff, accepts(tag("uint32", 0) .. varint(-1)).uint32)
    assert.equal(-1, accepts(tag("sint32", 0) .. varint(0x100000001)).sint32)
  end)

  it("a string that is no UTF-8, which is received as it is", function()
    assert.equal("\xff\0", accepts(wrap("string", "\xff\0")).string)
  end)

  it("nothing at all", function()
    assert.same({}, core.totable(accepts("")))
  end)

  it("100,000 fields and megabytes", function()
    local list = {}
    for i = 1, 100000 do list[i] = i end
    local m = accepts(core.encode(Every, { u_int32 = list, bytes = ("x"):rep(4 << 20) }))
    assert.equal(100000, #m.u_int32)
    assert.equal(100000, m.u_int32[100000])
    assert.equal(4 << 20, #m.bytes)
    assert.equal(core.bytes(m), core.encode(Every, core.totable(m)))
    assert.equal(m, core.fromjson(Every, core.tojson(m)))
  end)
end)

describe("encode and fromjson refuse", function()
  it("messages nested more than 100 deep, a table in itself too; entries of maps count", function()
    local function nested(depth)
      local fields = {}
      for _ = 1, depth do fields = { message = fields } end
      return fields
    end
    assert(core.decode(Every, core.encode(Every, nested(100))))
    assert.error_matches(function() core.encode(Every, nested(101)) end, "messages are nested more than 100 deep")
    local loop = {}
    loop.message = loop
    assert.error_matches(function() core.encode(Every, loop) end, "nested more than 100 deep")
    loop = {}
    loop.r_message = { loop }
    assert.error_matches(function() core.encode(Every, loop) end, "nested more than 100 deep")
    local fields = {}
    for _ = 1, 50 do fields = { m_message = { a = fields } } end
    assert(core.decode(Every, core.encode(Every, fields)))
    assert.error_matches(function() core.encode(Every, { message = fields }) end, "nested more than 100 deep")

    local function json(depth) return ('{"message":'):rep(depth) .. "{}" .. ("}"):rep(depth) end
    assert(core.fromjson(Every, json(100)))
    local message, text = core.fromjson(Every, json(101))
    assert.is_nil(message)
    assert.matches("nested more than 100 deep", text)
    message, text = core.fromjson(Every, json(100000))
    assert.is_nil(message)
    assert.matches("not JSON: .*depth", text)
  end)
end)

describe("messages in memory", function()
  it("are freed, views and all, when nothing holds them", function()
    local bytes = core.encode(Event, { sms_event = { text = ("x"):rep(1000), from_e164 = { e164 = "+47" } } })
    local function use()
      for _ = 1, 2000 do
        local event = core.decode(Event, bytes)
        assert(event.sms_event.from_e164.e164 and core.totable(event) and core.tojson(event))
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    use()
    local before = use()
    assert.is_true(use() - before < 50)
  end)

  it("hold their bytes once", function()
    local bytes = core.encode(Event, { sms_event = { text = ("x"):rep(1 << 20) } })
    collectgarbage()
    local before = collectgarbage("count")
    local event = core.decode(Event, bytes)
    local sms = event.sms_event
    assert.is_true(collectgarbage("count") - before < 1100)
    assert.equal(1 << 20, #sms.text)
  end)
end)
