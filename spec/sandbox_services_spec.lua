local core = require("wgtwo.core")
local requests = require("spec.support.requests")
local rules = require("wgtwo.sandbox.requests")
local schema = require("wgtwo.schema")
local support = require("spec.support.sandbox")
local wgtwo = require("wgtwo")

local open, read = support.open, support.read

local LOOKUP <const> = "wgtwo.lookup.v0.NumberLookupService/NumberLookup"
local PIPE <const>, MULTIPIPE <const> = "wgtwo.webterminal.v0.WebTerminalService/Pipe",
  "wgtwo.webterminal.v0.WebTerminalService/MultiPipe"

describe("sandbox services:", function()
  local sandbox, client

  setup(function()
    sandbox, client = support.start_with_client({ clock = "virtual" })
  end)

  teardown(function() support.close(sandbox, client) end)

  before_each(function() assert(sandbox:reset()) end)

  describe("answers of every other unary method:", function()
    local checked = { ["wgtwo.sms.v0.SmsService"] = true, ["wgtwo.sms.v1.SmsService"] = true,
      ["wgtwo.events.v0.EventsService"] = true }

    local function has_fields(type_name)
      return #schema.describe(type_name).fields > 0
    end

    it("valid, not empty, and the same for the same request", function()
      local count = 0
      for _, method in ipairs(schema.methods()) do
        if method.kind == "unary" and not checked[method.service] then
          local request = requests.valid(method.name)
          local reply, err = client:call(method.name, request)
          assert(reply, tostring(err))
          if has_fields(method.output_type) then
            assert.is_truthy(next(wgtwo.message.totable(reply)), method.name .. " answers nothing")
          end
          assert.equal(core.bytes(reply), core.bytes(assert(client:call(method.name, request))))
          count = count + 1
        end
      end
      assert.is_true(count >= 40, "only " .. count)
    end)

    it("what the request says is echoed, and another request gets another answer", function()
      local one = assert(client:call("GetSubscriptionId", { phone_number = { e164 = "+4799990001" } }))
      local two = assert(client:call("GetSubscriptionId", { phone_number = { e164 = "+4799990002" } }))
      assert.not_equal(one.subscription_id.value, two.subscription_id.value)
      assert.equal("STATUS_CODE_OK", one.status_code)
      assert.equal("", one.error_message)
      local organisation = assert(client:call("GetOrganisation",
        { dataset_uuid = ("d"):rep(16), organisation_uuid = ("o"):rep(16) }))
      assert.not_equal("", organisation.organisation.name)
      local created = assert(client:call("CreateDataset", { uuid = "0123456789abcdef", comment = "c" }))
      assert.equal("0123456789abcdef", created.uuid)
    end)

    it("obey the rules of their fields: numbers, identities, UUIDs, ranges", function()
      for _, method in ipairs(schema.methods()) do
        if method.kind == "unary" then
          local reply = assert(client:call(method.name, requests.valid(method.name)))
          local field, problem = rules.problem(rules.plan(method.output_type), reply)
          assert.is_nil(field, ("%s answers %s: %s"):format(method.name, field, problem))
        end
      end
      local voicemails = assert(client:call("GetAllVoicemailMetadata", { to = { e164 = "+4799990001" } })).metadata
      for _, mail in ipairs(voicemails) do
        assert.is_true(mail.created.seconds < mail.expires.seconds)
      end
    end)

    it("agree with the request where the two call one thing by different names", function()
      local function answer(name, changes)
        local method = schema.resolve(name).name
        local request = requests.valid(method)
        for field, value in pairs(changes or {}) do request[field] = value end
        return assert(client:call(method, request)), request
      end
      local one, other = ("o"):rep(16), ("p"):rep(16)
      assert.equal(other, answer("CopyDataset", { destination_uuid = other }).uuid)
      assert.equal(one, answer("DeleteOrganisation", { organisation_uuid = one }).uuid)
      assert.equal(one, answer("GetOrganisation", { organisation_uuid = one }).organisation.uuid)
      assert.equal(one, answer("ListOrganisations", { dataset_uuid = one }).dataset.uuid)
      local stored, request = answer("CreateOrUpdateOrganisation")
      assert.equal(request.organisation.uuid, stored.uuid)
      assert.equal("d", answer("CreateOrUpdateDestination").destination_id)
      local active = answer("SetActiveDataset", { dataset_uuid = one, tenant_uuids = { one, other } }).active_datasets
      assert.same({ one, one, one, other }, { active[1].dataset_uuid, active[1].tenant_uuid, active[2].dataset_uuid,
        active[2].tenant_uuid })
      local number = { e164 = "+4799990001" }
      local id = answer("GetSubscriptionId", { phone_number = number }).subscription_id.value
      local consents = assert(client:call("GetConsentsForSubscription", { phone_number = number })).consents
      assert.equal(id, consents[1].owner.subscription.subscription_identifier.value)
      assert.equal(answer("GetNetworkInfoForSubscriber", { phone_number = number }).network_infos[1].imsi.value,
        answer("GetAttachmentAttemptsForSubscriber", { phone_number = number }).attachment_attempts[1].imsi.value)
    end)

    it("lists keep to their filters", function()
      local number = { e164 = "+4799990001" }
      for after = 1000, 5000, 1000 do
        local attempts = assert(client:call("GetAttachmentAttemptsForSubscriber", { phone_number = number,
          filter_by_interval = { after = after, before = after + 10 }, max_attempts = 1 })).attachment_attempts
        assert.equal(1, #attempts)
        assert.is_true(attempts[1].timestamp.seconds >= after and attempts[1].timestamp.seconds < after + 10)
      end
      for _, prefix in ipairs{ "+4670", "4670", "467" } do
        for _, version in ipairs{ "v0", "v1" } do
          local method = ("wgtwo.number_portability.%s.NumberPortabilityService/ListPortingRecords"):format(version)
          for _, record in ipairs(assert(client:call(method, { subscriber_number_prefix = prefix })).records) do
            assert.matches("^%+" .. prefix:gsub("%+", ""), record.subscriber_number.e164)
          end
        end
      end
      local found = assert(client:call("ListDestinations", { destination_id = "d7" })).destinations
      assert.same({ 1, "d7" }, { #found, found[1].id })
    end)

    it("lengths and forms are those of the field: a vector's keys, a voicemail's audio, a registration's life",
      function()
      local vector = assert(client:call("GenerateEapAkaAuthenticationVector", { imsi = { value = "242990000000001" } }))
        .authentication_vector
      assert.same({ 16, 8, 16, 16, 16 }, { #vector.rand, #vector.xres, #vector.autn, #vector.ck, #vector.ik })
      assert.equal("RIFF", assert(client:call("GetVoicemail", { voicemail_id = "v" })).wav:sub(1, 4))
      assert.equal(3600, assert(client:call("UpsertRegistration", { registration = {} })).time_to_live.seconds)
    end)

    it("key material does not get into the journal", function()
      assert(client:call("GenerateEapAkaAuthenticationVector", { imsi = { value = "242990000000001" } }))
      local entry = sandbox:journal()[1]
      assert.equal("OK", entry.code)
      assert.same({}, entry.replies)
    end)

    it("lists in pages: page_size, page_token, next_page_token", function()
      local method = "wgtwo.consents.v0.ConsentService/ListConsentsForProduct"
      local seen, token, pages = {}, "", 0
      repeat
        local reply = assert(client:call(method, { pagination = { page_size = 10, page_token = token } }))
        pages = pages + 1
        for _, consent in ipairs(reply.consents) do seen[#seen + 1] = core.bytes(consent) end
        token = reply.pagination.next_page_token
      until token == ""
      assert.equal(3, pages)
      assert.equal(25, #seen)
      local all = assert(client:call(method, { pagination = { page_size = 100 } }))
      assert.equal(25, #all.consents)
      assert.equal(seen[25], core.bytes(all.consents[25]))
      local _, err = client:call(method, { pagination = { page_token = "made-up" } })
      assert.equal("INVALID_ARGUMENT", err.code)
    end)
  end)

  describe("number lookup:", function()
    it("the server asks, the client answers in any order, echoing the whole question", function()
      local stream <close> = open(sandbox, client, LOOKUP)
      local first, second = read(stream), read(stream)
      assert.not_equal(first.id, second.id)
      assert.matches("^%+", first.number.e164)
      assert(stream:write{ number_lookup_request = second, result = { name = "Two" } })
      assert(stream:write{ number_lookup_request = first, result = { name = "One" }, cache_control = {
        max_age = 900 } })
      support.until_(function() return #sandbox:lookups() == 2 end, "the answers")
      local answers = sandbox:lookups()
      assert.same({ "Two", "One" }, { answers[1].name, answers[2].name })
      assert.equal(24 * 3600, answers[1].max_age)
      assert.equal(900, answers[2].max_age)
      sandbox:advance(1)
      read(stream) -- the next question
      assert(stream:finish())
      assert.equal("OK", (support.ending(stream)))
    end)

    it("a question on command", function()
      assert.is_nil((sandbox:ask("+46700000009")))
      local stream <close> = open(sandbox, client, LOOKUP)
      read(stream)
      read(stream)
      local id = assert(sandbox:ask("+46700000009", "+4799990003"))
      local question = read(stream)
      assert.same({ id, "+46700000009", "+4799990003" }, { question.id, question.number.e164, question.recipient.e164 })
    end)

    it("a question about what is no number is refused; a faithful answer ended the stream", function()
      local stream <close> = open(sandbox, client, LOOKUP) -- luacheck: ignore 211
      for _, words in ipairs{ { "not a number", "+4799990001" }, { "", "+4799990001" }, { "+46700000009", "4799" } } do
        local ok, problem = pcall(sandbox.ask, sandbox, table.unpack(words))
        assert.is_false(ok)
        assert.matches("not in E.164 form", problem, 1, true)
      end
    end)

    it("a wrong answer ends the stream: not the question, a long name, a short life", function()
      local wrongs = {
        function(q) return { number_lookup_request = { id = q.id }, result = { name = "x" } } end,
        function(q) return { number_lookup_request = { id = "other", number = q.number, recipient = q.recipient },
          result = { name = "x" } } end,
        function(q) return { number_lookup_request = q, result = { name = ("x"):rep(61) } } end,
        function(q) return { number_lookup_request = q, result = { name = "x" }, cache_control = {
          max_age = 899 } } end,
        function(q) return { number_lookup_request = q } end,
      }
      for _, wrong in ipairs(wrongs) do
        local stream <close> = open(sandbox, client, LOOKUP)
        assert(stream:write(wrong(read(stream))))
        assert.equal("INVALID_ARGUMENT", (support.ending(stream)))
      end
    end)

    it("an error is an answer", function()
      local stream <close> = open(sandbox, client, LOOKUP)
      assert(stream:write{ number_lookup_request = read(stream), error = { message = "unknown" } })
      support.until_(function() return #sandbox:lookups() == 1 end, "the answer")
      assert.equal("unknown", sandbox:lookups()[1].error)
    end)
  end)

  describe("web terminal:", function()
    local METADATA <const> = { metadata = { ["wg2-msisdn"] = "+4799990001" } }

    local function message_of(stream)
      local message = read(stream)
      return wgtwo.message.which(message, "message"), message
    end

    it("Pipe: an offer rings, is answered, and is a call until bye", function()
      local stream <close> = open(sandbox, client, PIPE, nil, METADATA)
      assert.equal("idle", (message_of(stream)))
      assert(stream:write{ offer = { sdp = "v=0\r\na=setup:actpass\r\n", msisdn = { e164 = "+46700000001" } } })
      assert.equal("ringing", (message_of(stream)))
      local kind, answer = message_of(stream)
      assert.equal("answer", kind)
      assert.matches("a=setup:active", answer.answer.sdp, 1, true)
      local in_call
      kind, in_call = message_of(stream)
      assert.equal("in_call", kind)
      assert.equal("+46700000001", in_call.in_call.msisdn.e164)
      assert(stream:write{ bye = {} })
      assert.equal("idle", (message_of(stream)))
      assert(stream:write{ action = { toPhone = {} } })
      local _, failure = message_of(stream)
      assert.equal("NOT_INCALL", failure.error.err)
    end)

    it("MultiPipe: one state for each call_id, which is a UUID", function()
      local stream <close> = open(sandbox, client, MULTIPIPE, nil, METADATA)
      local one, two = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
      assert(stream:write{ call_id = one, offer = { sdp = "v=0" } })
      for _, expected in ipairs{ "ringing", "answer", "in_call" } do
        local kind, message = message_of(stream)
        assert.same({ expected, one }, { kind, message.call_id })
      end
      assert(stream:write{ call_id = two, action = { toPhone = {} } })
      local _, message = message_of(stream)
      assert.same({ "NOT_INCALL", two }, { message.error.err, message.call_id })
      assert(stream:write{ call_id = "1", bye = {} })
      _, message = message_of(stream)
      assert.equal("INVALID_CALL_ID", message.error.err)
    end)

    it("needs the subscriber's number in the metadata", function()
      for _, metadata in ipairs{ {}, { ["wg2-msisdn"] = "nobody" } } do
        local stream <close> = assert(client:stream(PIPE, nil, { metadata = metadata }))
        assert.equal("INVALID_ARGUMENT", (support.ending(stream)))
      end
    end)

    it("with the token of a subscriber it is that one, without metadata", function()
      local scope, back = "call.control.answer_and_initiate", "https://a.example/"
      local location = support.http{ url = ("%s/oauth2/auth?client_id=id&redirect_uri=%s&response_type=code&"
        .. "state=12345678&scope=%s"):format(sandbox.url, "https%3A%2F%2Fa.example%2F", scope) }.headers.location
      local token = support.post(sandbox, "/oauth2/token", { grant_type = "authorization_code",
        code = location:match("code=([^&]*)"), redirect_uri = back }, { username = "id", password = "secret" })
      local stream <close> = open(sandbox, client, PIPE, nil, { metadata = {
        authorization = "Bearer " .. token.json.access_token } })
      assert.equal("idle", (message_of(stream)))
    end)
  end)

  describe("gRPC's own:", function()
    local descriptors = require("wgtwo.sandbox.descriptors")

    setup(function() assert(wgtwo.schema.load((descriptors.load()))) end)

    it("health: serving, for every service there is", function()
      for _, service in ipairs{ "", "wgtwo.events.v0.EventsService" } do
        assert.equal("SERVING", assert(client:call("grpc.health.v1.Health/Check", { service = service })).status)
      end
      local _, err = client:call("grpc.health.v1.Health/Check", { service = "no.such.Service" })
      assert.equal("NOT_FOUND", err.code)
      local stream <close> = open(sandbox, client, "grpc.health.v1.Health/Watch", {})
      assert.equal("SERVING", read(stream).status)
    end)

    for _, version in ipairs{ "v1", "v1alpha" } do
      describe("reflection " .. version .. ":", function()
        local stream

        before_each(function()
          stream = open(sandbox, client, ("grpc.reflection.%s.ServerReflection/ServerReflectionInfo"):format(version))
        end)

        after_each(function() stream:close() end)

        local function ask(question)
          assert(stream:write(question))
          return read(stream)
        end

        it("lists the services", function()
          local names = {}
          for _, service in ipairs(ask{
            list_services = "" }.list_services_response.service) do names[service.name] = true end
          for _, method in ipairs(schema.methods()) do assert.is_true(names[method.service], method.service) end
        end)

        it("gives the files of a symbol, with all that they import, byte for byte", function()
          for _, symbol in ipairs{ "wgtwo.events.v0.EventsService", "wgtwo.events.v0.EventsService.Subscribe",
              "wgtwo.events.v0.SmsEvent", "grpc.health.v1.Health" } do
            local files = ask{ file_containing_symbol = symbol }.file_descriptor_response.file_descriptor_proto
            local set = core.encode(schema.type("google.protobuf.FileDescriptorSet"), { file = (function()
              local decoded = {}
              for i, bytes in ipairs(files) do
                decoded[i] = assert(core.decode(schema.type("google.protobuf.FileDescriptorProto"), bytes))
              end
              return decoded
            end)() })
            assert.is_truthy(core.schema(set))
          end
        end)

        it("gives a file by name, extensions by number", function()
          local by_name = ask{
            file_by_filename = "wgtwo/annotations.proto" }.file_descriptor_response.file_descriptor_proto
          local by_extension = ask{ file_containing_extension = { containing_type = "google.protobuf.MethodOptions",
            extension_number = 50013 } }.file_descriptor_response.file_descriptor_proto
          assert.equal(by_name[1], by_extension[1])
          local numbers = ask{ all_extension_numbers_of_type = "google.protobuf.MethodOptions" }
            .all_extension_numbers_response.extension_number
          assert.is_truthy(table.concat(numbers, " "):find("50013", 1, true))
        end)

        it("says what it does not know", function()
          local answer = ask{ file_containing_symbol = "no.such.Symbol" }
          assert.equal(5, answer.error_response.error_code)
          assert.equal("no.such.Symbol", answer.original_request.file_containing_symbol)
        end)
      end)
    end
  end)

  it("a method that there is not is UNIMPLEMENTED", function()
    local channel <close> = assert(core.channel{ target = sandbox.plaintext_target, plaintext = true })
    local call <close> = core.call(channel, { path = "/no.Such/Method", kind = "unary", request = "",
      reply = schema.type("google.protobuf.Empty"), timeout = 5 })
    support.until_(function() return call:take() == nil end, "the answer")
    assert.equal(12, call:status().code)
  end)

  it("a request that cannot be decoded is INTERNAL, and the sandbox goes on", function()
    local channel <close> = assert(core.channel{ target = sandbox.plaintext_target, plaintext = true })
    local call <close> = core.call(channel, { path = "/wgtwo.events.v0.EventsService/Ack", kind = "unary",
      request = "\255\255", reply = schema.type("google.protobuf.Empty"), timeout = 5 })
    support.until_(function() return call:take() == nil end, "the answer")
    assert.equal(13, call:status().code)
    assert(client:call("ListDatasets", {}))
  end)
end)
