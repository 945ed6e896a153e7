local core = require "wgtwo.core"
local every_type = require "spec.support.every_type"
local schema = require("wgtwo.schema").default()

local Every = every_type.schema():type("test.Every")
local Event = schema:type("wgtwo.events.v0.Event")

local function every(fields) return assert(core.decode(Every, core.encode(Every, fields))) end

local function writes(json, fields) assert.equal(json, core.tojson(every(fields))) end

local function reads(fields, json) assert.same(fields, core.totable(assert(core.fromjson(Every, json)))) end

local function refuses(reason, json)
  local message, text = core.fromjson(Every, json)
  assert.is_nil(message)
  assert.matches(reason, text)
end

-- Both ways.
local function maps(fields, json)
  writes(json, fields)
  reads(fields, json)
end

describe("tojson and fromjson", function()
  it("map names to lowerCamelCase, and read both spellings", function()
    local event = assert(core.decode(Event, core.encode(Event, { sms_event = { from_e164 = { e164 = "+47" },
      direction = 1 } })))
    assert.equal('{"smsEvent":{"fromE164":{"e164":"+47"},"direction":"FROM_SUBSCRIBER"}}', core.tojson(event))
    assert.equal('{"sms_event":{"from_e164":{"e164":"+47"},"direction":"FROM_SUBSCRIBER"}}', core.tojson(event,
      { names = "proto" }))
    assert.equal(event, core.fromjson(Event, core.tojson(event)))
    assert.equal(event, core.fromjson(Event, core.tojson(event, { names = "proto" })))
    refuses("r_int32 is there twice, as r_int32 and rInt32", '{"rInt32":[1],"r_int32":[1]}')
  end)

  it("map integers: 32 bits as numbers, 64 bits as strings; both are read", function()
    maps({ int32 = -2147483648 }, '{"int32":-2147483648}')
    maps({ uint32 = 4294967295 }, '{"uint32":4294967295}')
    maps({ int64 = math.mininteger }, '{"int64":"-9223372036854775808"}')
    maps({ uint64 = -1 }, '{"uint64":"18446744073709551615"}')
    maps({ fixed64 = math.mininteger }, '{"fixed64":"9223372036854775808"}')
    reads({ int64 = 5, int32 = 6, uint64 = 7 }, '{"int64":5,"int32":"6","uint64":7}')
    reads({ int32 = 1000, uint32 = 4, int64 = 100000 }, '{"int32":1e3,"uint32":4.0,"int64":"1e5"}')
    reads({}, '{"int32":0,"uint64":"0"}')
    refuses("int32: 2147483648 is out of the range of int32", '{"int32":2147483648}')
    refuses("uint32: %-1 is out of the range of uint32", '{"uint32":-1}')
    refuses("uint64: %-1 is out of range", '{"uint64":-1}')
    refuses("uint64: %-1 is out of range", '{"uint64":"-1"}')
    refuses("uint64: 18446744073709551616 is out of range", '{"uint64":"18446744073709551616"}')
    refuses("int64: 9223372036854775808 is out of range", '{"int64":"9223372036854775808"}')
    refuses("int32: integer expected, got 1.5", '{"int32":1.5}')
    for _, text in ipairs{ "", " 1", "1 ", "+1", "01", "0x10", "1_0", "--1", "a", "1.", "1e", "-" } do
      refuses("int32: integer expected, got '", ('{"int32":"%s"}'):format(text))
    end
    refuses("int32: integer expected, got true", '{"int32":true}')
    refuses("int32: integer expected, got array", '{"int32":[]}')
  end)

  it("map floating-point numbers, NaN and infinities", function()
    maps({ double = 1.5, float = 0.5 }, '{"double":1.5,"float":0.5}')
    writes('{"double":0.1,"float":0.1}', { double = 0.1, float = 0.1 })
    writes('{"double":1e+300}', { double = 1e300 })
    maps({ double = 5e-324 }, core.tojson(every{ double = 5e-324 }))
    writes('{"double":123456789012345}', { double = 123456789012345.0 })
    writes('{"double":0.30000000000000004}', { double = 0.1 + 0.2 })
    maps({ double = math.huge, float = -math.huge }, '{"double":"Infinity","float":"-Infinity"}')
    writes('{"double":"NaN"}', { double = 0 / 0 })
    assert.is_true(core.fromjson(Every, '{"double":"NaN"}').double ~= core.fromjson(Every, '{"double":"NaN"}').double)
    assert.equal(core.encode(Every, { double = -0.0 }), core.bytes(core.fromjson(Every,
      core.tojson(every{ double = -0.0 }))))
    reads({ double = 1.5, float = 2.0 }, '{"double":"1.5","float":2}')
    refuses("float: 3.5e%+38 is out of the range of float", '{"float":3.5e38}')
    refuses("number expected, got 'nan'", '{"double":"nan"}')
    refuses("number expected, got ''", '{"double":""}')
    refuses("not JSON", '{"double":1e999}')
    refuses("not JSON", '{"double":NaN}')
  end)

  it("writes numbers with a point whatever the locale", function()
    local locale = os.setlocale()
    for _, name in ipairs{ "de_DE.UTF-8", "de_DE", "nb_NO.UTF-8", "C.UTF-8" } do
      if os.setlocale(name) then break end
    end
    local ok, text = pcall(core.tojson, every{ double = 1.5, float = 2.25 })
    os.setlocale(locale)
    assert.is_true(ok)
    assert.equal('{"double":1.5,"float":2.25}', text)
  end)

  it("map booleans, and nothing like them", function()
    maps({ bool = true, o_bool = false }, '{"bool":true,"oBool":false}')
    refuses("boolean expected, got string", '{"bool":"true"}')
    refuses("boolean expected, got integer", '{"bool":1}')
  end)

  it("map strings, escaped; valid UTF-8 without NUL when read", function()
    maps({ string = 'a"b\\c/d\n\r\t\b\f\1\31 å\u{1F600}' },
      '{"string":"a\\"b\\\\c/d\\n\\r\\t\\b\\f\\u0001\\u001f å\u{1F600}"}')
    maps({ string = ("0123456789"):rep(50) .. '"' .. ("x"):rep(7) },
      '{"string":"' .. ("0123456789"):rep(50) .. '\\"xxxxxxx"}')
    reads({ string = "\u{1F600}å" }, '{"string":"\\ud83d\\ude00\\u00e5"}')
    refuses("string: a string must not have '\\0' in it", '{"string":"a\\u0000b"}')
    refuses("not JSON", '{"string":"\xff"}')
    refuses("not JSON", '{"string":"\\ud83d"}')
    refuses("string expected, got integer", '{"string":5}')
  end)

  it("writes U+FFFD for bytes of a received string that are no UTF-8", function()
    local m = every{ bytes = "a\xff\xc3b\xe2\x82" }
    local number
    for _, field in ipairs(every_type.schema():describe("test.Every").fields) do
      if field.name == "string" then number = field.number end
    end
    local key = number << 3 | 2
    local as_string = assert(core.decode(Every, string.char(key & 127 | 128, key >> 7, 6) .. m.bytes))
    assert.equal("a\xff\xc3b\xe2\x82", as_string.string)
    assert.equal('{"string":"a\u{FFFD}\u{FFFD}b\u{FFFD}\u{FFFD}"}', core.tojson(as_string))
  end)

  it("map bytes to base64; URL-safe and without padding is read", function()
    for bytes, text in pairs{ ["\0"] = "AA==", ["\0\1"] = "AAE=", ["\0\1\2"] = "AAEC", ["\xfb\xff\xfe"] = "+//+",
      ["hello"] = "aGVsbG8=" } do
      maps({ bytes = bytes }, ('{"bytes":"%s"}'):format(text))
      reads({ bytes = bytes }, ('{"bytes":"%s"}'):format(text:gsub("=", ""):gsub("+", "-"):gsub("/", "_")))
    end
    for _, text in ipairs{ "A", "AAAAA", "AA=A", "A===", "A A=", "AA\\n", "AA*=" } do refuses("bytes: not base64",
      ('{"bytes":"%s"}'):format(text)) end
  end)

  it("map enums to names; numbers are read, unknown ones stay numbers", function()
    maps({ enum = "RED", r_enum = { "NONE", "MINUS", 77 } }, '{"enum":"RED","rEnum":["NONE","MINUS",77]}')
    reads({ enum = "GREEN" }, '{"enum":2}')
    reads({ enum = "GREEN" }, '{"enum":"VERDE"}')
    refuses("enum: test.Colour has no value 'GREN' %(did you mean 'GREEN'%?%)", '{"enum":"GREN"}')
    refuses("enum: enum name or number expected, got true", '{"enum":true}')
    refuses("integer expected, got 1.5", '{"enum":1.5}')
  end)

  it("map lists and maps, in the order of the keys", function()
    maps({ r_int32 = { 3, 1, 2 } }, '{"rInt32":[3,1,2]}')
    maps({ r_message = { {}, { int32 = 1 } } }, '{"rMessage":[{},{"int32":1}]}')
    maps({ m_int32 = { b = 2, a = 1, [""] = 3 } }, '{"mInt32":{"":3,"a":1,"b":2}}')
    maps({ k_bool = { [true] = 1, [false] = 2 } }, '{"kBool":{"false":2,"true":1}}')
    maps({ k_int64 = { [math.mininteger] = 1, [5] = 2 } }, '{"kInt64":{"-9223372036854775808":1,"5":2}}')
    maps({ m_message = { x = { int32 = 1 } } }, '{"mMessage":{"x":{"int32":1}}}')
    refuses("test.Every has no field 'rInt'", '{"rInt":[1]}')
    refuses("r_int32%[2%]: integer expected, got null", '{"rInt32":[1,null]}')
    refuses("array expected, got object", '{"rInt32":{}}')
    refuses("object expected, got array", '{"mInt32":[]}')
    refuses('m_int32%["a"%]: integer expected, got null', '{"mInt32":{"a":null}}')
    refuses('k_int32%["x"%]: integer expected', '{"kInt32":{"x":1}}')
    refuses('k_bool%["1"%]: boolean key expected', '{"kBool":{"1":1}}')
    refuses("a key of k_uint32 is there twice", '{"kUint32":{"1":1,"1e0":2}}')
  end)

  it("take null for what is not set", function()
    reads({}, '{"int32":null,"message":null,"rInt32":null,"mInt32":null,"wTimestamp":null}')
    reads({}, '{"wStringValue":null,"cInt32":null}')
    reads({ c_string = "x" }, '{"cInt32":null,"cString":"x"}')
    refuses("are both set, of the oneof choice only one may be", '{"cInt32":0,"cString":"x"}')
  end)

  it("refuse names that no field has, twice the same name, and what is no JSON", function()
    refuses("test.Every has no field 'strin' %(did you mean 'string'%?%)", '{"strin":1}')
    refuses("message: test.Every has no field 'xyzzy' %(it has: .*, …%)$", '{"message":{"xyzzy":1}}')
    refuses("not JSON: line 1, column 18: duplicate object key", '{"int32":1,"int32":2}')
    for _, text in ipairs{ "", "{", "{}x", "{'a':1}", "{\"a\":1,}",
      "\xef\xbb\xbf{}" } do refuses("not JSON: line %d+, column %d+: ", text) end
    refuses("object expected, got array", "[]")
    refuses("object expected, got null", "null")
    refuses("object expected, got string", '"x"')
  end)

  it("indent when asked", function()
    assert.equal('{\n  "message": {},\n  "mString": {\n    "a": "b"\n  }\n}',
      core.tojson(every{ message = {}, m_string = { a = "b" } }, { indent = 2 }))
    assert.equal("{}", core.tojson(every{}, { indent = 2 }))
    assert.equal('{\n "rInt32": [\n  1,\n  2\n ]\n}', core.tojson(every{ r_int32 = { 1, 2 } }, { indent = 1 }))
  end)

  it("check their options", function()
    assert.error_matches(function() core.tojson(every{}, { indnt = 2 }) end, "the options are names and indent")
    assert.error_matches(function() core.tojson(every{}, { names = "camel" }) end, 'names is "json" or "proto"')
    assert.error_matches(function() core.tojson(every{}, { indent = -1 }) end, "indent is 0 to 16 spaces")
    assert.error_matches(function() core.tojson(every{}, { indent = 100 }) end, "indent is 0 to 16 spaces")
    assert.error_matches(function() core.tojson({}) end, "message expected, got table")
    assert.error_matches(function() core.fromjson(Every, {}) end, "string expected, got table")
  end)
end)

describe("JSON of the well-known types", function()
  it("is a time for a Timestamp, with 0, 3, 6 or 9 decimals", function()
    for text, value in pairs{
      ["1970-01-01T00:00:00Z"] = { seconds = 0, nanos = 0 }, ["0001-01-01T00:00:00Z"] = { seconds = -62135596800,
        nanos = 0 },
      ["9999-12-31T23:59:59.999999999Z"] = { seconds = 253402300799, nanos = 999999999 },
      ["2023-11-14T22:13:20.123Z"] = { seconds = 1700000000, nanos = 123000000 },
        ["1969-12-31T23:59:59.500Z"] = { seconds = -1, nanos = 500000000 },
      ["2000-02-29T12:00:00.000001Z"] = { seconds = 951825600, nanos = 1000 },
        ["1900-03-01T00:00:00Z"] = { seconds = -2203891200, nanos = 0 },
    } do
      maps({ w_Timestamp = value }, ('{"wTimestamp":"%s"}'):format(text))
    end
    refuses("w_Timestamp: '.*' is no timestamp", '{"wTimestamp":"yesterday"}')
    refuses("string expected, got integer", '{"wTimestamp":0}')
  end)

  it("is the calendar's, on every day of 400 years and some", function()
    local Timestamp = schema:type("google.protobuf.Timestamp")
    local year, month, day = 1899, 12, 31
    local function days_in(m, y)
      if m == 2 then return (y % 4 == 0 and y % 100 ~= 0 or y % 400 == 0) and 29 or 28 end
      return (m == 4 or m == 6 or m == 9 or m == 11) and 30 or 31
    end
    local first = -2209075200 -- 1899-12-31
    for i = 0, 147000, 1 do
      if i % 7 == 0 or day >= 28 or day == 1 then
        local text = core.tojson(core.decode(Timestamp, core.encode(Timestamp, first + i * 86400)))
        local want = ('"%04d-%02d-%02dT00:00:00Z"'):format(year, month, day)
        if text ~= want or core.fromjson(Timestamp, want).seconds ~= first + i * 86400 then assert.equal(want, text) end
      end
      day = day + 1
      if day > days_in(month, year) then
        day, month = 1, month + 1
        if month > 12 then month, year = 1, year + 1 end
      end
    end
  end)

  it("is seconds for a Duration", function()
    for text, value in pairs{ ["0s"] = { seconds = 0, nanos = 0 }, ["1.500s"] = { seconds = 1, nanos = 500000000 },
      ["-0.000001s"] = { seconds = 0, nanos = -1000 }, ["-315576000000s"] = { seconds = -315576000000, nanos = 0 },
      ["3.000000001s"] = { seconds = 3, nanos = 1 } } do
      maps({ w_Duration = value }, ('{"wDuration":"%s"}'):format(text))
    end
    refuses("w_Duration: '.*' is no duration", '{"wDuration":"1 s"}')
  end)

  it("is an object of their fields when they came out of range", function()
    local Timestamp = schema:type("google.protobuf.Timestamp")
    local far = core.decode(Timestamp, "\8\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x10\5")
    assert.equal('{"seconds":"9223372036854775807","nanos":5}', core.tojson(far))
  end)

  it("is the bare value for wrappers", function()
    maps({ w_StringValue = { value = "x" } }, '{"wStringValue":"x"}')
    maps({ w_Int64Value = { value = 5 } }, '{"wInt64Value":"5"}')
    maps({ w_BoolValue = {} }, '{"wBoolValue":false}')
    maps({ w_BytesValue = { value = "\0" } }, '{"wBytesValue":"AA=="}')
    maps({ w_DoubleValue = { value = 1.5 } }, '{"wDoubleValue":1.5}')
    maps({ w_DoubleValue = {}, w_Int32Value = {}, w_StringValue = {} },
      '{"wDoubleValue":0,"wInt32Value":0,"wStringValue":""}')
    refuses("w_StringValue: string expected, got integer", '{"wStringValue":5}')
  end)

  it("is any JSON for Struct, ListValue and Value", function()
    local json = '{"wStruct":{"a":1,"b":[true,null,"x",{"c":1.5}],"c":{}}}'
    local m = assert(core.fromjson(Every, json))
    assert.equal(json, core.tojson(m))
    assert.equal(1.0, m.w_Struct.fields.a.number_value)
    assert.equal("NULL_VALUE", m.w_Struct.fields.b.list_value.values[2].null_value)
    for _, text in ipairs{ '{"wValue":null}', '{"wValue":[]}', '{"wValue":{"a":{}}}', '{"wListValue":[1,[]]}',
      '{"rValue":[null,1]}' } do
      assert.equal(text, core.tojson(assert(core.fromjson(Every, text))))
    end
    assert.equal('{"wValue":null}', core.tojson(every{ w_Value = {} }))
    refuses("object expected, got array", '{"wStruct":[]}')
    refuses("array expected, got object", '{"wListValue":{}}')
  end)

  it("is a text of paths for FieldMask, null for NullValue, an object for Empty", function()
    maps({ w_FieldMask = { paths = { "from_e164.e164", "text" } } }, '{"wFieldMask":"fromE164.e164,text"}')
    maps({ w_FieldMask = {} }, '{"wFieldMask":""}')
    refuses("camelCase", '{"wFieldMask":"a_b"}')
    maps({ w_Empty = {} }, '{"wEmpty":{}}')
    refuses("no field", '{"wEmpty":{"a":1}}')
    reads({}, '{"null":null}')
  end)
end)

describe("JSON of an Any", function()
  local function any(type, fields)
    return { type_url = "type.googleapis.com/" .. type, value = core.encode(every_type.schema():type(type), fields) }
  end

  it("is the message in it, with its type", function()
    maps({ w_Any = any("test.Every", { int32 = 5 }) }, '{"wAny":{"@type":"type.googleapis.com/test.Every","int32":5}}')
    maps({ w_Any = { type_url = "type.googleapis.com/test.Every" } },
      '{"wAny":{"@type":"type.googleapis.com/test.Every"}}')
    maps({ w_Any = any("google.protobuf.Duration", 1.5) },
      '{"wAny":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1.500s"}}')
    maps({ w_Any = any("google.protobuf.Any", any("test.Every", { string = "x" })) },
      '{"wAny":{"@type":"type.googleapis.com/google.protobuf.Any",'
      .. '"value":{"@type":"type.googleapis.com/test.Every","string":"x"}}}')
    maps({ w_Any = {} }, '{"wAny":{}}')
    refuses("w_Any: @type names no known type", '{"wAny":{"@type":"x/p.Unknown"}}')
    refuses("w_Any: @type names no known type", '{"wAny":{"@type":5}}')
    refuses("w_Any: the value of a google.protobuf.Duration expected",
      '{"wAny":{"@type":"x/google.protobuf.Duration","seconds":5}}')
    refuses("w_Any: test.Every has no field 'nope'", '{"wAny":{"@type":"x/test.Every","nope":5}}')
    refuses("w_Any: an Any of a known type is written with @type", '{"wAny":{"typeUrl":"x/test.Every","value":""}}')
  end)

  it("is its two fields when the type is not known, or the bytes are none of it", function()
    maps({ w_Any = { type_url = "x/p.Unknown", value = "\0" } }, '{"wAny":{"typeUrl":"x/p.Unknown","value":"AA=="}}')
    writes('{"wAny":{"typeUrl":"x/test.Every","value":"AA=="}}',
      { w_Any = { type_url = "x/test.Every", value = "\0" } })
  end)

  it("does not follow Anys in Anys without end", function()
    local deep = any("test.Every", {})
    for _ = 1, 300 do deep = any("google.protobuf.Any", deep) end
    local text = core.tojson(every{ w_Any = deep })
    local _, levels = text:gsub('"@type"', "")
    assert.is_true(levels > 50 and levels <= 101)
  end)
end)

describe("json_decode and json_encode", function()
  it("turn values into JSON and back", function()
    for _, text in ipairs{ "null", "true", "false", "0", "-1", "1.5", '"x"', "[]", "{}", "[1,2,3]",
      '{"a":[{},[]],"b":null}',
      '"\\u0000\\n"', "9223372036854775807", "1e+300" } do
      assert.equal(text, core.json_encode(core.json_decode(text)))
    end
  end)

  it("know null from nothing, and an empty array from an empty object", function()
    assert.equal(core.null, core.json_decode("null"))
    assert.equal(core.null, core.json_decode("[null]")[1])
    assert.equal("[]", core.json_encode(core.json_array{}))
    assert.equal("{}", core.json_encode{})
    assert.equal("null", core.json_encode(nil))
    local list = core.json_array{}
    list[1] = 5
    assert.equal("[5]", core.json_encode(list))
  end)

  it("keep integers and floats apart when reading", function()
    assert.equal("integer", math.type(core.json_decode("1")))
    assert.equal("float", math.type(core.json_decode("1.0")))
    assert.equal("\0", core.json_decode('"\\u0000"'))
  end)

  it("give nil and a reason for what is no JSON", function()
    for _, text in ipairs{ "", "{", "[1,]", "nope", '{"a":1,"a":2}', "\xff", '"\xff"', "1e999", "99999999999999999999",
      "[1] 2" } do
      local value, reason = core.json_decode(text)
      assert.is_nil(value)
      assert.matches("^not JSON: line %d+, column %d+: ", reason)
    end
    local value, reason = core.json_decode(("["):rep(201) .. ("]"):rep(201))
    assert.is_nil(value)
    assert.equal("JSON is nested more than 200 deep", reason)
    assert.is_table(core.json_decode(("["):rep(200) .. ("]"):rep(200)))
    assert.is_nil((core.json_decode(("["):rep(100000))))
  end)

  it("write objects in the order of their keys, indented when asked, and messages as what they are", function()
    assert.equal('{"a":1,"aa":2,"b":3}', core.json_encode{ b = 3, aa = 2, a = 1 })
    assert.equal('{\n  "a": [\n    1\n  ]\n}', core.json_encode({ a = { 1 } }, 2))
    assert.equal('[{"int32":1}]', core.json_encode{ every{ int32 = 1 } })
  end)

  it("raise for what JSON cannot say", function()
    local loop = {}
    loop[1] = loop
    for reason, value in pairs{ ["function has no form"] = print, ["userdata has no form"] = io.stdout,
      ["deep, or a table in itself"] = loop,
      ["no sequence and no strings"] = { [2] = 1 }, ["no valid UTF%-8"] = "\xff",
        ["a key is no valid UTF%-8"] = { ["\xff"] = 1 } } do
      assert.error_matches(function() core.json_encode(value) end, reason)
    end
    assert.error_matches(function() core.json_encode(0 / 0) end, "has no form in it")
    assert.error_matches(function() core.json_encode(math.huge) end, "has no form in it")
    assert.error_matches(function() core.json_encode() end, "value expected")
    assert.error_matches(function() core.json_encode({}, 17) end, "indent is 0 to 16 spaces")
    assert.error_matches(function() core.json_encode{ 1, 2, x = 3 } end, "no sequence and no strings")
  end)
end)
