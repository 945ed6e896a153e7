local Api = require("spec.support.api")
local wgtwo = require("wgtwo")

local V1, V0 = "wgtwo.sms.v1.SmsService/", "wgtwo.sms.v0.SmsService/"

describe("sms", function()
  local api, client

  before_each(function()
    api = Api.start()
    client = assert(wgtwo.connect{ target = api.target, plaintext = true, auth = false, logger = false })
  end)

  after_each(function()
    client:close()
    api:stop()
  end)

  local function text(fields)
    local all = { content = "hi", to_subscriber = "+4799990001", from_address = "Shop" }
    for key, value in pairs(fields or {}) do
      if value == false then all[key] = nil else all[key] = value end
    end
    return all
  end

  -- Answers every method with an OK, and gives the request of the last call as a table.
  local function accept()
    for _, name in ipairs{ "SendTextToSubscriber", "SendTextFromSubscriber", "SendDataToSubscriber" } do
      api:on(V1 .. name, function(call) call:reply{ message_id = "m", status = "SEND_STATUS_OK" } end)
    end
    for _, name in ipairs{ "SendTextToSubscriber", "SendTextFromSubscriber", "SendBinaryToSubscriber",
      "SendTextToSubscriberAsOperator", "SendTextToSubscriberAsProduct" } do
      api:on(V0 .. name, function(call) call:reply{ request_id = "r", status = "SEND_OK" } end)
    end
    return function()
      local last = api.calls[#api.calls]
      return wgtwo.message.totable(last.request), last.name
    end
  end

  it("sends each of v1's", function()
    local sent = accept()
    local reply = assert(client.sms:send_text_to_subscriber(text{ delivery_deadline = 3600 }))
    assert.equal("m", reply.message_id)
    assert.same({ { content = "hi", to_subscriber = "+4799990001", from_address = "Shop",
      delivery_deadline = { seconds = 3600, nanos = 0 } }, V1 .. "SendTextToSubscriber" }, { sent() })
    assert(client.sms:send_text_from_subscriber{ content = "hi", from_subscriber = "+4799990001", to_address = "2000" })
    assert.same({ { content = "hi", from_subscriber = "+4799990001", to_address = "2000" },
      V1 .. "SendTextFromSubscriber" }, { sent() })
    assert(client.sms:send_data_to_subscriber{ content = "\0\255", to_subscriber = "+4799990001",
      from_address = "+4799990002", application_port = { originator_port = 1, destination_port = 65535 },
      message_class = "MESSAGE_CLASS_FLASH_MESSAGE" })
    assert.equal("\0\255", (sent()).content)
    assert.equal(65535, (sent()).application_port.destination_port)
  end)

  it("sends each of v0's, with texts as addresses or messages", function()
    local sent = accept()
    assert(client.sms_v0:send_text_from_subscriber{ content = "hi", from_subscriber = "+4799990001",
      to_e164 = "+4699990001" })
    assert.same({ { content = "hi", from_subscriber = { e164 = "+4799990001" }, to_e164 = { e164 = "+4699990001" } },
      V0 .. "SendTextFromSubscriber" }, { sent() })
    assert(client.sms_v0:send_text_to_subscriber{ content = "hi", from_text_address = "Shop",
      to_subscriber = { e164 = "+4799990001" } })
    assert.same({ content = "hi", from_text_address = { text_address = "Shop" },
      to_subscriber = { e164 = "+4799990001" } }, (sent()))
    assert(client.sms_v0:send_text_to_subscriber{ content = "hi", from_short_number = "2000",
      to_subscriber = "+4799990001" })
    assert.same({ national_phone_number = "2000" }, (sent()).from_short_number)
    assert(client.sms_v0:send_binary_to_subscriber{ content = "\1", from_e164 = "+4799990002",
      to_subscriber = "+4799990001", message_class = "CLASS1" })
    assert(client.sms_v0:send_text_to_subscriber_as_operator{ content = "hi", from_operator_address = "Operator",
      to_subscriber = "+4799990001" })
    assert.same({ text_address = "Operator" }, (sent()).from_operator_address)
    assert(client.sms_v0:send_text_to_subscriber_as_product{ content = "hi", from_product_address = "Product",
      to_subscriber = "+4799990001" })
    assert.equal(V0 .. "SendTextToSubscriberAsProduct", select(2, sent()))
  end)

  describe("checks before sending", function()
    local function wrong(field, pattern, fields, method)
      local reply, err = client[method and method[1] or "sms"][method and method[2] or "send_text_to_subscriber"](
        client[method and method[1] or "sms"], fields)
      assert.is_nil(reply)
      assert.equal("sms", err.kind)
      assert.equal("INVALID_ARGUMENT", err.code)
      assert.equal(field, err.field)
      assert.equal("not_sent", err.outcome)
      assert.is_false(err.retryable)
      assert.matches(field:gsub("%p", "%%%0") .. ".*" .. pattern, tostring(err))
      assert.same({}, api.calls)
    end

    it("the text: 1 to 2000 characters, where one outside the BMP counts 2", function()
      wrong("content", "must not be empty", text{ content = "" })
      wrong("content", "is missing", text{ content = false })
      wrong("content", "at most 2000 characters, not 2001", text{ content = ("x"):rep(2001) })
      wrong("content", "at most 2000 characters, not 2002", text{ content = ("👍"):rep(1001) })
      wrong("content", "UTF%-8", text{ content = "\255" })
      wrong("content", "zero byte", text{ content = "a\0b" })
      wrong("content", "must be a text, not number", text{ content = 5 })
      accept()
      assert(client.sms:send_text_to_subscriber(text{ content = ("👍"):rep(1000) }))
    end)

    it("numbers and addresses", function()
      for _, number in ipairs{ "4799990001", "+", "+0123456", "+47 999 90 001", "+1234567890123456", "Shop", "" } do
        wrong("to_subscriber", "", text{ to_subscriber = number })
      end
      for _, sender in ipairs{ "Shop!", "12 34", "" } do wrong("from_address", "", text{ from_address = sender }) end
      wrong("to_address", "short number", { content = "x", from_subscriber = "+4799990001", to_address = "Shop" },
        { "sms", "send_text_from_subscriber" })
      accept()
      for _, sender in ipairs{ "+4799990002", "2000", "Shop", "Shop 24", "4Shop", "Bücher" } do
        assert(client.sms:send_text_to_subscriber(text{ from_address = sender }))
      end
    end)

    it("the deadline: more than 0, at most 7 days", function()
      for _, deadline in ipairs{ 0, -1, 604801, "8x", true, "700000s" } do
        wrong("delivery_deadline", "", text{ delivery_deadline = deadline })
      end
      accept()
      for _, deadline in ipairs{ 604800, 0.5, "90s", { seconds = 5 } } do
        assert(client.sms:send_text_to_subscriber(text{ delivery_deadline = deadline }))
      end
    end)

    it("data and ports", function()
      local function data(fields)
        local all = { content = "x", to_subscriber = "+4799990001", from_address = "Shop" }
        for key, value in pairs(fields) do all[key] = value end
        return all
      end
      local method = { "sms", "send_data_to_subscriber" }
      wrong("content", "2000 bytes, not 2001", data{ content = ("x"):rep(2001) }, method)
      wrong("application_port", "0 to 65535", data{ application_port = { originator_port = 65536 } }, method)
      wrong("application_port", "must be a table", data{ application_port = 5 }, method)
    end)

    it("v0's addresses", function()
      wrong("from_e164 or from_text_address or from_short_number", "is missing",
        { content = "x", to_subscriber = "+4799990001" }, { "sms_v0", "send_text_to_subscriber" })
      wrong("to_subscriber", "such as", { content = "x", from_e164 = "+4799990001", to_subscriber = { e164 = "12" } },
        { "sms_v0", "send_text_to_subscriber" })
      wrong("from_subscriber", "e164", { content = "x", from_subscriber = 5, to_e164 = "+4799990001" },
        { "sms_v0", "send_text_from_subscriber" })
    end)

    it("and raises for what can only be a mistake", function()
      local ok, err = pcall(function() client.sms:send_text_to_subscriber(text{ to_subscribr = "x" }) end)
      assert.is_false(ok)
      assert.matches("sms_spec.lua:%d+: .*to_subscribr.*to_subscriber", err)
      assert.error_matches(function() client.sms:send_txt_to_subscriber{} end, "send_text_to_subscriber")
      assert.error_matches(function() client.sms:send_text_to_subscriber("x") end, "table of fields")
      assert.error_matches(function() client.sms:send_text_to_subscriber(text(), { timout = 1 }) end, "timeout")
    end)
  end)

  for _, case in ipairs{
    { "v1", V1, "SEND_STATUS_REJECT", false }, { "v1", V1, "SEND_STATUS_ERROR", true },
    { "v0", V0, "SEND_REJECT", false }, { "v0", V0, "SEND_ERROR", true },
  } do
    local version, service, status, retryable = table.unpack(case)
    it(("gives an error for %s with status OK"):format(status), function()
      api:on(service .. "SendTextToSubscriber", function(call)
        call:reply{ status = status, description = "not in service" }
      end)
      local reply, err
      if version == "v1" then
        reply, err = client.sms:send_text_to_subscriber(text())
      else
        reply, err = client.sms_v0:send_text_to_subscriber{ content = "x", from_e164 = "+4799990002",
          to_subscriber = "+4799990001" }
      end
      assert.is_nil(reply)
      assert.equal("sms", err.kind)
      assert.equal(status, err.code)
      assert.equal(retryable, err.retryable)
      assert.equal("rejected", err.outcome)
      assert.equal("not in service", err.message)
      assert.equal(1, #api.calls)
    end)
  end

  describe("never sends twice", function()
    local function outcome_of(handler, options)
      api:on(V1 .. "SendTextToSubscriber", handler)
      local reply, err = client.sms:send_text_to_subscriber(text(), options)
      assert.is_nil(reply)
      return err.outcome, err
    end

    it("and says unknown where it may have arrived", function()
      for _, code in ipairs{ 14, 13, 2, 10 } do
        local outcome, err = outcome_of(function(call) call:fail(code, "gone") end)
        assert.equal("unknown", outcome)
        assert.is_false(err.retryable)
        assert.matches("may have happened", tostring(err))
      end
      assert.equal("unknown", (outcome_of(function(call) call:until_cancelled() end, { timeout = 0.1 })))
      assert.equal("unknown", (outcome_of(function(call) call.op:reset() end)))
      assert.equal(6, #api.calls)
    end)

    it("and says rejected where the server refused it before acting", function()
      for _, code in ipairs{ 3, 5, 7, 8, 9, 11, 12, 16 } do
        assert.equal("rejected", (outcome_of(function(call) call:fail(code, "no") end)))
      end
      assert.equal(8, #api.calls)
    end)

    it("and says not_sent where it did not leave", function()
      api:stop()
      local outcome, err = outcome_of(function() end)
      assert.equal("not_sent", outcome)
      assert.equal("UNAVAILABLE", err.code)
      client:close()
      assert.equal("not_sent", (outcome_of(function() end)))
    end)
  end)
end)
