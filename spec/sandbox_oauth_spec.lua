local core = require("wgtwo.core")
local process = require("spec.support.process")
local requests = require("spec.support.requests")
local schema = require("wgtwo.schema")
local support = require("spec.support.sandbox")
local wgtwo = require("wgtwo")

local http, post = support.http, support.post

local METHOD <const> = "wgtwo.subscription.v0.SubscriptionIdService/GetMsisdn"
local SCOPE <const> = "subscription.id:read"
local REDIRECT <const> = "https://shop.example/back"

describe("sandbox OAuth:", function()
  local sandbox

  setup(function()
    sandbox = support.start{ clock = "virtual", clients = {
      { id = "all", secret = "secret one" },
      { id = "some", secret = "secret2", scopes = { SCOPE }, redirect_uris = { REDIRECT }, numbers = {
        "+4799990009" } },
    } }
  end)

  teardown(function() sandbox:close() end)

  local BASIC <const> = { username = "some", password = "secret2" }

  local function token(form, options)
    form.grant_type = form.grant_type or "client_credentials"
    return post(sandbox, "/oauth2/token", form, options or BASIC)
  end

  --- One call with a value of the authorization metadata.
  local function call(value, method)
    local client <close> = assert(wgtwo.connect(sandbox:client(false)))
    method = method or METHOD
    local metadata = value and { authorization = value } or nil
    local _, err = client:call(method, requests.valid(method), { metadata = metadata })
    return err and err.code or "OK", err
  end

  describe("client credentials:", function()
    it("a token as the platform gives it", function()
      local response = token{ scope = SCOPE }
      assert.equal(200, response.status)
      assert.matches("^application/json", response.headers["content-type"])
      assert.equal("no-store", response.headers["cache-control"])
      assert.equal("no-cache", response.headers.pragma)
      local body = response.json
      assert.equal(3599, body.expires_in)
      assert.equal("bearer", body.token_type)
      assert.equal(SCOPE, body.scope)
      assert.equal("OK", (call("Bearer " .. body.access_token)))
    end)

    it("the client proves itself with Basic, words encoded as the RFC has it, or in the form", function()
      assert.equal(200, token({}, { username = "all", password = "secret one" }).status)
      local id_and_secret = "Authorization: Basic " .. "YWxsOnNlY3JldCUyMG9uZQ==" -- all:secret%20one
      assert.equal(200, token({}, { headers = { "Content-Type: application/x-www-form-urlencoded",
        id_and_secret } }).status)
      assert.equal(200, token({ client_id = "some", client_secret = "secret2" }, {}).status)
    end)

    it("curl with the guide's command", function()
      local command = "curl -s -u some:secret2 -d grant_type=client_credentials -d scope=%s %s/oauth2/token"
      local result = process.shell(command:format(SCOPE, sandbox.url))
      assert.equal("bearer", core.json_decode(result.output).token_type)
    end)

    it("a wrong id had a piece of the message masked, where the secret is 'secret'", function()
      local _, err = wgtwo.oauth.client_credentials{ client_id = "wrong", client_secret = "secret",
        token_url = sandbox.url .. "/oauth2/token" }:token()
      assert.equal("invalid_client", err.code)
      assert.matches("the client is not known", err.message, 1, true)
      assert.not_matches("***", err.message, 1, true)
    end)

    it("another secret, another client or none is 401 invalid_client", function()
      for _, options in ipairs{ { username = "some", password = "wrong" }, { username = "none", password = "secret2" },
          {} } do
        local response = token({ scope = SCOPE }, options)
        assert.equal(401, response.status)
        assert.equal("invalid_client", response.json.error)
        assert.is_string(response.json.error_description)
        assert.matches("^Basic", response.headers["www-authenticate"])
      end
    end)

    it("the granted scope may be less than the one asked for, where that is set", function()
      local narrow <close> = support.start{ narrow_scopes = true, clients = {
        { id = "some", secret = "secret2", scopes = { SCOPE } } } }
      local body = post(narrow, "/oauth2/token", { grant_type = "client_credentials",
        scope = "events.sms.subscribe " .. SCOPE }, BASIC).json
      assert.equal(SCOPE, body.scope)
      local client <close> = assert(wgtwo.connect(narrow:client(false)))
      local options = { metadata = { authorization = "Bearer " .. body.access_token } }
      assert(client:call(METHOD, requests.valid(METHOD), options))
      local stream <close> = assert(client:stream("wgtwo.events.v0.EventsService/Subscribe",
        { type = { "SMS_EVENT" } }, options))
      assert.equal("PERMISSION_DENIED", (support.ending(stream)))
    end)

    it("errors have the names of RFC 6749", function()
      local function refused(form, options) return token(form, options).json.error end
      assert.equal("invalid_scope", refused{ scope = "events.sms.subscribe" })
      assert.equal("unsupported_grant_type", refused{ grant_type = "password" })
      assert.equal("invalid_grant", refused{ grant_type = "authorization_code", code = "x" })
      assert.equal("invalid_grant", refused{ grant_type = "refresh_token", refresh_token = "x" })
      local function raw(body, kind)
        return http{ method = "POST", url = sandbox.url .. "/oauth2/token", body = body, username = "some",
          password = "secret2", headers = { "Content-Type: " .. kind } }.json.error
      end
      assert.equal("invalid_request", refused{ grant_type = "authorization_code" })
      assert.equal("invalid_request", refused{ grant_type = "refresh_token" })
      assert.equal("invalid_request", raw("grant_type=client_credentials", "application/json"))
      assert.equal("invalid_request", raw("scope=x", "application/x-www-form-urlencoded"))
      assert.equal("invalid_request", raw("grant_type=a&grant_type=b", "application/x-www-form-urlencoded"))
    end)

    it("a parameter without a value counts as omitted", function()
      assert.equal("invalid_request", token{ grant_type = "" }.json.error)
      assert.equal("invalid_request", token{ grant_type = "refresh_token", refresh_token = "" }.json.error)
      assert.equal(200, token({ client_id = "some", client_secret = "secret2", scope = "" }, {}).status)
    end)
  end)

  describe("checking of tokens:", function()
    it("none is fine", function() assert.equal("OK", (call(nil))) end)

    it("one that is sent must be valid: unknown, malformed, expired, revoked are UNAUTHENTICATED", function()
      assert.equal("UNAUTHENTICATED", (call("Bearer nonsense")))
      assert.equal("UNAUTHENTICATED", (call("nonsense")))
      local value = token{ scope = SCOPE }.json.access_token
      sandbox:advance(3598)
      assert.equal("OK", (call("Bearer " .. value)))
      sandbox:advance(2)
      assert.equal("UNAUTHENTICATED", (call("Bearer " .. value)))
      value = token{ scope = SCOPE }.json.access_token
      assert.equal(200, post(sandbox, "/oauth2/revoke", { token = value }, BASIC).status)
      assert.equal("UNAUTHENTICATED", (call("Bearer " .. value)))
      value = token{ scope = SCOPE }.json.access_token
      sandbox:revoke_tokens()
      assert.equal("UNAUTHENTICATED", (call("Bearer " .. value)))
    end)

    it("revoking what is not known is a success, what was revoked is gone: also a refresh token", function()
      assert.equal(200, post(sandbox, "/oauth2/revoke", { token = "unknown" }, BASIC).status)
      assert.equal(400, post(sandbox, "/oauth2/revoke", {}, BASIC).status)
      local answer = http{ url = sandbox.url .. "/oauth2/auth?client_id=some&response_type=code&state=12345678&"
        .. "scope=offline_access&redirect_uri=https%3A%2F%2Fshop.example%2Fback" }
      local code = answer.headers.location:match("code=([^&]*)")
      local body = token{ grant_type = "authorization_code", code = code, redirect_uri = REDIRECT }.json
      local refresh = body.refresh_token
      assert.is_string(refresh)
      assert.equal(200, post(sandbox, "/oauth2/revoke", { token = refresh }, BASIC).status)
      assert.equal("invalid_grant", token{ grant_type = "refresh_token", refresh_token = refresh }.json.error)
    end)

    it("a client cannot revoke another's token", function()
      local value = token{ scope = SCOPE }.json.access_token
      assert.equal(200, post(sandbox, "/oauth2/revoke", { token = value }, { username = "all",
        password = "secret one" }).status)
      assert.equal("OK", (call("Bearer " .. value)))
      assert.equal(401, post(sandbox, "/oauth2/revoke", { token = value }).status)
    end)

    it("a missing scope is PERMISSION_DENIED, and named, also in the details", function()
      local value = token{ scope = SCOPE }.json.access_token
      local code, err = call("Bearer " .. value, "wgtwo.sms.v1.SmsService/SendTextToSubscriber")
      assert.equal("PERMISSION_DENIED", code)
      assert.matches("sms.text:send_to_subscriber", err.message, 1, true)
      assert.equal("google.rpc.ErrorInfo", err.details[1].type)
      assert.equal("sms.text:send_to_subscriber", err.details[1].metadata.scope)
    end)

    describe("the scope of a method:", function()
      local client

      setup(function() client = assert(wgtwo.connect(sandbox:client(false))) end)
      teardown(function() client:close() end)

      local function metadata_with(scope)
        local answer = token({ scope = scope }, { username = "all", password = "secret one" }).json
        return { metadata = { authorization = "Bearer " .. answer.access_token, ["wg2-msisdn"] = "+4799990001" } }
      end

      it("every unary method asks for its own, and for no other", function()
        local count = 0
        for _, method in ipairs(schema.methods()) do
          if method.kind == "unary" and method.scope then
            local _, err = client:call(method.name, requests.valid(method.name), metadata_with("no.such.scope"))
            assert.equal("PERMISSION_DENIED", err and err.code, method.name)
            assert.matches(('"%s"'):format(method.scope), err.message, 1, true)
            assert(client:call(method.name, requests.valid(method.name), metadata_with(method.scope)))
            count = count + 1
          end
        end
        assert.is_true(count >= 30, "only " .. count)
      end)

      it("so does every stream", function()
        local count = 0
        for _, method in ipairs(schema.methods()) do
          if method.kind ~= "unary" and method.scope then
            local request = not method.client_streaming and requests.valid(method.name) or nil
            local refused <close> = assert(client:stream(method.name, request, metadata_with("no.such.scope")))
            local code, err = support.ending(refused)
            assert.equal("PERMISSION_DENIED", code, method.name)
            assert.matches(('"%s"'):format(method.scope), err.message, 1, true)
            local opened <close> = support.open(sandbox, client, method.name, request, metadata_with(method.scope))
            assert.is_truthy(opened)
            count = count + 1
          end
        end
        assert.is_true(count >= 7, "only " .. count)
      end)
    end)

    it("a method without a scope needs a valid token only", function()
      local value = token{}.json.access_token
      assert.equal("OK", (call("Bearer " .. value, "wgtwo.ir21.v1.Ir21Service/ListDatasets")))
    end)

    it("strict: a call without a token is UNAUTHENTICATED", function()
      local strict <close> = support.start{ strict = true }
      local client <close> = assert(wgtwo.connect(strict:client(false)))
      local _, err = client:call(METHOD, {})
      assert.equal("UNAUTHENTICATED", err.code)
      local with_token <close> = assert(wgtwo.connect(strict:client()))
      assert(with_token:call(METHOD, requests.valid(METHOD)))
    end)
  end)

  describe("authorization code:", function()
    local function authorize(parameters)
      local words = {}
      local all = { client_id = "some", redirect_uri = REDIRECT, response_type = "code", state = "12345678",
        scope = "openid offline_access phone" }
      for name, value in pairs(parameters or {}) do all[name] = value end
      for name, value in pairs(all) do words[#words + 1] = name .. "=" .. value:gsub("[/: ]", { ["/"] = "%2F",
        [":"] = "%3A",
        [" "] = "+" }) end
      return http{ url = sandbox.url .. "/oauth2/auth?" .. table.concat(words, "&") }
    end

    local function code_of(response)
      assert.equal(302, response.status)
      local location = response.headers.location
      assert.equal(REDIRECT, location:match("^[^?]*"))
      assert.equal("12345678", location:match("[?&]state=([^&]*)"))
      return location:match("[?&]code=([^&]*)")
    end

    local function exchange(code, more)
      local form = { grant_type = "authorization_code", code = code, redirect_uri = REDIRECT }
      for name, value in pairs(more or {}) do form[name] = value end
      return token(form)
    end

    it("the user consents by itself, the code becomes tokens of a user", function()
      local body = exchange(code_of(authorize())).json
      assert.is_string(body.access_token)
      assert.is_string(body.refresh_token)
      assert.is_string(body.id_token)
      local info = http{ url = sandbox.url .. "/userinfo", headers = { "Authorization: Bearer "
        .. body.access_token } }.json
      assert.equal("+4799990009", info.phone_number)
      assert.is_true(info.phone_number_verified)
      assert.is_string(info.sid)
      assert.is_string(info.sub)
    end)

    it("the rock's own client goes the whole way", function()
      local user = wgtwo.oauth.authorization_code{ client_id = "some", client_secret = "secret2",
        redirect_uri = REDIRECT,
        scopes = { "openid", "offline_access", "phone" }, token_url = sandbox.url .. "/oauth2/token",
        authorize_url = sandbox.url .. "/oauth2/auth", userinfo_url = sandbox.url .. "/userinfo",
        revoke_url = sandbox.url .. "/oauth2/revoke" }
      local url = user:authorize_url{ state = "12345678" }
      assert(user:exchange(code_of(http{ url = url })))
      assert.equal("+4799990009", assert(user:userinfo()).phone_number)
      assert(user:revoke())
    end)

    it("openid adds the id_token, offline_access the refresh token; without them there are none", function()
      local body = exchange(code_of(authorize{ scope = "phone" })).json
      assert.is_nil(body.id_token)
      assert.is_nil(body.refresh_token)
    end)

    it("a code is good once, for its client, with its redirect_uri, for a while", function()
      local code = code_of(authorize())
      assert.equal(200, exchange(code).status)
      assert.equal("invalid_grant", exchange(code).json.error)
      assert.equal("invalid_grant", exchange(code_of(authorize()), {
        redirect_uri = "https://else.example/" }).json.error)
      local others = token({ grant_type = "authorization_code", code = code_of(authorize()), redirect_uri = REDIRECT },
        { username = "all", password = "secret one" })
      assert.equal("invalid_grant", others.json.error)
      code = code_of(authorize())
      sandbox:advance(601)
      assert.equal("invalid_grant", exchange(code).json.error)
    end)

    it("a refresh token gives new tokens, once, and no more scopes than there were", function()
      local first = exchange(code_of(authorize())).json
      local form = { grant_type = "refresh_token", refresh_token = first.refresh_token }
      form.scope = SCOPE
      assert.equal("invalid_scope", token(form).json.error)
      form.scope = nil
      local second = token(form).json
      assert.is_string(second.access_token)
      assert.not_equal(first.refresh_token, second.refresh_token)
      assert.equal("invalid_grant", token(form).json.error)
    end)

    it("a refresh for fewer scopes gave a refresh token for fewer, or none; one without a value for scope no scopes",
      function()
        local scope = "openid offline_access phone"
        local form = { grant_type = "refresh_token", refresh_token = exchange(code_of(authorize())).json.refresh_token }
        for _, asked in ipairs{ "openid offline_access", "phone", "", scope } do
          form.scope = asked
          local body = token(form).json
          assert.equal(asked == "" and scope or asked, body.scope)
          assert.equal(body.scope:find("openid", 1, true) ~= nil, body.id_token ~= nil)
          form.refresh_token = body.refresh_token
        end
      end)

    it("a refresh token was good after all tokens had been made worthless", function()
      local form = { grant_type = "refresh_token", refresh_token = exchange(code_of(authorize())).json.refresh_token }
      assert(sandbox:revoke_tokens())
      assert.equal("invalid_grant", token(form).json.error)
    end)

    it("state has at least 8 characters; other errors go back to the client as well", function()
      local function error_of(parameters)
        return authorize(parameters).headers.location:match("[?&]error=([^&]*)")
      end
      assert.equal("invalid_request", error_of{ state = "1234567" })
      assert.equal("invalid_request", error_of{ state = "" })
      assert.equal("invalid_request", error_of{ response_type = "" })
      assert.equal("unsupported_response_type", error_of{ response_type = "token" })
      assert.equal("invalid_scope", error_of{ scope = "events.sms.subscribe" })
    end)

    it("an unknown client or redirect_uri is never redirected to", function()
      for _, parameters in ipairs{ { client_id = "none" }, { redirect_uri = "https://evil.example/" } } do
        local response = authorize(parameters)
        assert.equal(400, response.status)
        assert.is_nil(response.headers.location)
      end
    end)

    it("with a page, one button consents; nothing from the request gets into it as markup", function()
      local paged <close> = support.start{ consent = "page" }
      local page = http{ url = paged.url .. "/oauth2/auth?client_id=id&redirect_uri=https%3A%2F%2Fa.example%2F&"
        .. "response_type=code&state=12345678&scope=phone&nonce=%22%3E%3Cscript%3E" }
      assert.equal(200, page.status)
      assert.matches("<button", page.body, 1, true)
      assert.is_nil(page.body:find("<script", 1, true))
      local form = { consent = "yes" }
      for name, value in page.body:gmatch('name="([%w_]+)" value="([^"]*)"') do
        form[name] = value:gsub("&quot;", '"'):gsub("&gt;", ">"):gsub("&lt;", "<")
      end
      local back = post(paged, "/oauth2/auth/consent", form)
      assert.equal(302, back.status)
      assert.matches("^https://a.example/%?code=", back.headers.location)
      form.consent = "no"
      assert.matches("error=access_denied", post(paged, "/oauth2/auth/consent", form).headers.location, 1, true)
    end)

    it("sub is pairwise: another client sees another", function()
      local function sub(id, secret)
        local code = authorize{ client_id = id }.headers.location:match("[?&]code=([^&]*)")
        local body = token({ grant_type = "authorization_code", code = code, redirect_uri = REDIRECT },
          { username = id, password = secret }).json
        return http{ url = sandbox.url .. "/userinfo", headers = { "Authorization: Bearer "
          .. body.access_token } }.json.sub
      end
      assert.equal(sub("some", "secret2"), sub("some", "secret2"))
      assert.not_equal(sub("some", "secret2"), sub("all", "secret one"))
    end)

    it("userinfo wants the token of a user", function()
      local function status(value)
        return http{ url = sandbox.url .. "/userinfo", headers = { "Authorization: Bearer " .. value } }.status
      end
      assert.equal(401, status("nonsense"))
      assert.equal(403, status(token{}.json.access_token))
    end)
  end)

  describe("keys:", function()
    local function decode(part)
      part = part:gsub("-", "+"):gsub("_", "/")
      local file = os.tmpname()
      local out <close> = assert(io.open(file, "w"))
      out:write(part, ("="):rep(-#part % 4))
      out:flush()
      local text = process.shell("base64 -d " .. file).output
      os.remove(file)
      return text
    end

    local function id_token()
      local url = sandbox.url .. "/oauth2/auth?client_id=some&response_type=code&state=12345678&scope=openid&nonce=n1&"
        .. "redirect_uri=https%3A%2F%2Fshop.example%2Fback"
      local code = http{ url = url }.headers.location:match("[?&]code=([^&]*)")
      return token{ grant_type = "authorization_code", code = code, redirect_uri = REDIRECT }.json.id_token
    end

    it("an id_token says who the user is, and its key is among the published ones, also after a rotation", function()
      local head, body = id_token():match("^([^.]+)%.([^.]+)%.[^.]+$")
      local claims = core.json_decode(decode(body))
      assert.equal(sandbox.url, claims.iss)
      assert.same({ "some" }, claims.aud)
      assert.equal("n1", claims.nonce)
      assert.equal("+4799990009", claims.phone_number)
      local kid = core.json_decode(decode(head)).kid
      local function known()
        for _, key in ipairs(http{ url = sandbox.url .. "/.well-known/jwks.json" }.json.keys) do
          if key.kid == kid then return key end
        end
      end
      assert.equal("RS256", known().alg)
      http{ method = "POST", url = sandbox.url .. "/admin/keys", body = "{}", headers = {
        "Content-Type: application/json" } }
      assert.is_table(known())
      assert.not_equal(kid, core.json_decode(decode(id_token():match("^[^.]+"))).kid)
    end)

    it("its signature is right, as OpenSSL sees it", function()
      local httpd = require("wgtwo.httpd")
      local key = httpd.signing_key()
      local paths = {}
      local function file(text)
        local path = os.tmpname()
        paths[#paths + 1] = path
        local out <close> = assert(io.open(path, "wb"))
        out:write(text)
        return path
      end
      local pem, signature, text = file(key:pem()), file(key:sign("what is signed")), file("what is signed")
      local result = process.shell(("openssl rsa -in %s -pubout -out %s.pub 2>/dev/null && "
        .. "openssl dgst -sha256 -verify %s.pub -signature %s %s"):format(pem, pem, pem, signature, text))
      assert.matches("Verified OK", result.output)
      assert.equal(key:modulus(), httpd.signing_key(key:pem()):modulus())
      assert.equal("\1\0\1", key:exponent())
      assert.has_error(function() httpd.signing_key("nonsense") end)
      paths[#paths + 1] = pem .. ".pub"
      for _, path in ipairs(paths) do os.remove(path) end
    end)

    it("there are several from the start, and the one that signs is not the first", function()
      local kid = core.json_decode(decode(id_token():match("^[^.]+"))).kid
      local keys = http{ url = sandbox.url .. "/.well-known/jwks.json" }.json.keys
      assert.is_true(#keys >= 2)
      assert.not_equal(kid, keys[1].kid)
    end)

    it("the endpoints have the platform's paths", function()
      local document = http{ url = sandbox.url .. "/.well-known/openid-configuration" }.json
      local paths = { authorization_endpoint = "/oauth2/auth", token_endpoint = "/oauth2/token",
        revocation_endpoint = "/oauth2/revoke", userinfo_endpoint = "/userinfo",
        end_session_endpoint = "/oauth2/sessions/logout", jwks_uri = "/.well-known/jwks.json" }
      for name, path in pairs(paths) do
        assert.equal(sandbox.url .. path, document[name])
        local status = http{ url = sandbox.url .. path }.status
        assert.is_true(status ~= 404 and status < 500, path .. ": " .. status)
      end
    end)

    it("the discovery document names every endpoint", function()
      local document = http{ url = sandbox.url .. "/.well-known/openid-configuration" }.json
      assert.equal(sandbox.url, document.issuer)
      for _, name in ipairs{ "authorization", "token", "revocation", "userinfo", "end_session" } do
        assert.equal(sandbox.url, document[name .. "_endpoint"]:sub(1, #sandbox.url))
      end
    end)
  end)

  it("log-out leads back", function()
    local response = http{ url = sandbox.url
      .. "/oauth2/sessions/logout?post_logout_redirect_uri=https%3A%2F%2Fa.example%2F" }
    assert.equal("https://a.example/", response.headers.location)
    assert.equal(200, http{ url = sandbox.url .. "/oauth2/sessions/logout" }.status)
  end)

  it("line breaks in where a browser is to be sent are 400; the request was never answered", function()
    local query = "client_id=all&response_type=code&state=12345678&redirect_uri=https://a.example/%0D%0Ab"
    for _, path in ipairs{ "/oauth2/sessions/logout?post_logout_redirect_uri=a%0D%0Ab", "/oauth2/auth?" .. query } do
      local response = http{ url = sandbox.url .. path }
      assert.same({ 400, nil }, { response.status, response.headers.location })
    end
    local form = { client_id = "all", response_type = "code", state = "12345678", consent = "yes" }
    form.redirect_uri = "https://a.example/\r\nb"
    assert.equal(400, post(sandbox, "/oauth2/auth/consent", form).status)
  end)

  it("what is no valid UTF-8 is 400; the request hung, and no journal could be read", function()
    for _, form in ipairs{ { grant_type = "\xFF" }, { scope = "\xFF" }, { ["\xFF"] = "1" } } do
      local response = token(form)
      assert.same({ 400, "invalid_request" }, { response.status, response.json.error })
    end
    token({}, { username = "\xFF", password = "secret2" })
    for _, path in ipairs{ "/%FF", "/admin/events?type=%FF", "/oauth2/auth?client_id=%FF" } do
      assert.equal(400, http{ url = sandbox.url .. path }.status)
    end
    assert.is_table(sandbox:journal()[1])
  end)

  it("other paths and methods are told apart, and another Host is refused", function()
    assert.equal(404, http{ url = sandbox.url .. "/nothing" }.status)
    local wrong = http{ url = sandbox.url .. "/oauth2/token" }
    assert.equal(405, wrong.status)
    assert.matches("takes POST", wrong.json.error_description, 1, true)
    assert.equal("POST", wrong.headers.allow)
    assert.equal(403, http{ url = sandbox.url .. "/", headers = { "Host: rebound.example" } }.status)
  end)
end)
