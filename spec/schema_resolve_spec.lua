local schema = require "wgtwo.schema"

local SEND = "wgtwo.sms.v1.SmsService/SendTextToSubscriber"

-- A file with these contents, for the time of one test.
local function with_file(bytes, f)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "wb"))
  assert(file:write(bytes))
  file:close()
  local ok, err = pcall(f, path)
  os.remove(path)
  if not ok then error(err, 0) end
end

-- A descriptor set by hand: package p, an empty message M, and a service S with these methods.
local function descriptor_set(package, service, methods)
  local function field(number, bytes) return string.char(number << 3 | 2, #bytes) .. bytes end
  local body = ""
  for _, name in ipairs(methods) do
    local kind = "." .. package .. ".M"
    body = body .. field(2, field(1, name) .. field(2, kind) .. field(3, kind))
  end
  local file = field(1, package .. ".proto") .. field(2, package) .. field(4, field(1, "M"))
    .. field(6, field(1, service) .. body) .. field(12, "proto3")
  return field(1, file)
end

describe("schema.resolve", function()
  it("takes a method's name with a slash or a dot, with or without a leading slash", function()
    for _, name in ipairs{ SEND, "wgtwo.sms.v1.SmsService.SendTextToSubscriber", "/" .. SEND } do
      assert.equal(SEND, schema.resolve(name).name)
    end
  end)

  it("takes any ending that only one method has", function()
    local endings = { "sms.v1.SmsService/SendTextToSubscriber", "v1.SmsService.SendTextToSubscriber",
      "v1.SmsService/SendTextToSubscriber" }
    for _, ending in ipairs(endings) do assert.equal(SEND, schema.resolve(ending).name) end
    assert.equal("wgtwo.events.v0.EventsService/Subscribe", schema.resolve("EventsService/Subscribe").name)
    assert.equal("wgtwo.subscription.v1.SubscriptionEventService/StreamHandsetChangeEvents",
      schema.resolve("StreamHandsetChangeEvents").name)
    assert.equal("wgtwo.sms.v1.SmsService/SendDataToSubscriber", schema.resolve("SendDataToSubscriber").name)
    assert.equal("wgtwo.subscription.v1.SubscriptionEventService/StreamHandsetChangeEvents",
      schema.resolve("HandsetChangeEvents").name)
  end)

  it("says what a method takes, gives and needs", function()
    local method = schema.resolve "StreamHandsetChangeEvents"
    assert.equal("/wgtwo.subscription.v1.SubscriptionEventService/StreamHandsetChangeEvents", method.path)
    assert.equal("server", method.kind)
    assert.equal("subscription.handset_details:read", method.scope)
    assert.matches("wgtwo.subscription.v1.StreamHandsetChangeEventsRequest", tostring(method.input), 1, true)
    assert.matches("wgtwo.subscription.v1.StreamHandsetChangeEventsResponse", tostring(method.output), 1, true)
    assert.equal("bidi", schema.resolve("NumberLookup").kind)
    assert.equal("unary", schema.resolve("EventsService/Ack").kind)
  end)

  it("raises for an ambiguous name, with the candidates", function()
    local ok, message = pcall(schema.resolve, "SendTextFromSubscriber")
    assert.is_false(ok)
    assert.matches("ambiguous", message)
    assert.matches("wgtwo.sms.v0.SmsService/SendTextFromSubscriber", message, 1, true)
    assert.matches("wgtwo.sms.v1.SmsService/SendTextFromSubscriber", message, 1, true)
  end)

  it("raises for an unknown name, with the nearest, at the caller's line", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() schema.resolve("StreamHandsetChangedEvents") end)
    assert.is_false(ok)
    assert.matches("schema_resolve_spec.lua:" .. line .. ": unknown method", message, 1, true)
    assert.matches("SubscriptionEventService/StreamHandsetChangeEvents", message, 1, true)
    assert.matches("wgtwo.sms.v1.SmsService/SendTextToSubscriber",
      select(2, pcall(schema.resolve, "wgtwo.sms.v1.SmsServce/SendTextToSubscriber")), 1, true)
    for _, wrong in ipairs{ "", "/", ".", "sendtexttosubscriber" } do
      assert.is_false((pcall(schema.resolve, wrong)))
    end
    assert.error_matches(function() schema.resolve(5) end, "must be a string")
  end)

  it("lists every method once, by name", function()
    local list = schema.methods()
    assert.equal(67, #list)
    for i = 2, #list do assert.is_true(list[i - 1].name < list[i].name) end
  end)
end)

describe("schema.type", function()
  it("takes a type's name, or any ending after a dot that only one has", function()
    local full = schema.type "wgtwo.events.v0.SmsDeliveryReportEvent"
    assert.equal(full, schema.type "SmsDeliveryReportEvent")
    assert.equal(full, schema.type(full))
  end)

  it("raises for others", function()
    assert.error_matches(function() schema.type "wgtwo.events.v0.SmsEvnt" end, "is \"wgtwo.events.v0.SmsEvent")
    assert.error_matches(function() schema.type "PhoneNumbr" end, "unknown message type")
    assert.error_matches(function() schema.type "AckRequest" end, "ambiguous: wgtwo.events.v0")
    assert.error_matches(function() schema.type(nil) end, "must be a string, not nil")
  end)
end)

describe("schema.load", function()
  it("adds the methods of another set, from bytes or a file", function()
    local bytes = descriptor_set("mine.v1", "Loaded", { "FromBytes" })
    assert(schema.load(bytes))
    assert.equal("mine.v1.Loaded/FromBytes", schema.resolve("FromBytes").name)
    with_file(descriptor_set("yours.v1", "Loaded", { "FromFile" }), function(path)
      assert(schema.load(path))
      assert.equal("yours.v1.Loaded/FromFile", schema.resolve("FromFile").name)
    end)
    assert.equal(SEND, schema.resolve(SEND).name)
    assert.equal("mine.v1.M", tostring(schema.type("mine.v1.M")):match("[%w.]+$"))
  end)

  it("says what is wrong with a set", function()
    local set, err = schema.load("\n\255\255")
    assert.is_nil(set)
    assert.equal("decode", err.kind)
    set, err = schema.load("/nowhere/x.binpb")
    assert.is_nil(set)
    assert.matches("/nowhere/x.binpb", tostring(err), 1, true)
  end)
end)

describe("schema.documentation", function()
  it("has the comments of the definitions", function()
    assert.is_string(schema.documentation("wgtwo.events.v0.EventsService"))
    assert.is_string(schema.documentation("wgtwo.events.v0.EventsService/Subscribe"))
    assert.is_nil(schema.documentation("no.such.Name"))
  end)
end)
