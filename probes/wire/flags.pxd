# The numbers of lbtop.model.observation for compiled code: `mirrored` in flags.py lets a test compare the two.

cdef enum:
    P7_UNKNOWN, P7_HTTP1, P7_HTTP2, P7_TLS, P7_SSH, P7_POSTGRES, P7_MYSQL, P7_REDIS, P7_SMTP, P7_DNS, P7_QUIC, P7_DTLS
    P7_WEBSOCKET, P7_MQTT, P7_OTHER_CLEAR, P7_NATS, P7_SYSLOG

cdef enum:
    SENT_BY_CLIENT = 1
    SENT_BY_SERVER = 2

cdef enum:
    CN_UPGRADED = 1 << 6
    CN_STARTTLS = 1 << 7
    CN_PROXIED = 1 << 9
    CN_PROXIED_LOCAL = 1 << 10
    CN_NOT_DECODABLE = 1 << 12
    CN_DECRYPTED = 1 << 17

cdef enum:
    SC_DECRYPTED = 1 << 0

cdef enum:
    RQ_TRUNCATED = 1 << 0
    RQ_KEEPALIVE = 1 << 1
    RQ_WEBSOCKET = 1 << 2
    RQ_H2C_UPGRADE = 1 << 3
    RQ_AUTHORIZATION = 1 << 4
    RQ_SEC_FETCH = 1 << 5
    RQ_SEC_CH_UA = 1 << 6
    RQ_BR_ZSTD = 1 << 7
    RQ_SECURE_COOKIE_PREFIX = 1 << 8
    RQ_HTTPS_ORIGIN = 1 << 9
    RQ_HTTP_ORIGIN = 1 << 10
    RQ_TRACE_ID = 1 << 11
    RQ_VIA = 1 << 12
    RQ_BROWSER_UA = 1 << 13
    RQ_UPGRADE_INSECURE = 1 << 14
    RQ_GRPC = 1 << 15
    RQ_SESSION = 1 << 16
    RQ_MIXED_CASE_FORWARDED = 1 << 17
    RQ_TLS_HEADER = 1 << 18
    RQ_XREQUEST_ID = 1 << 19
    RQ_CONNECT = 1 << 20

cdef enum:
    RS_TRUNCATED = 1 << 0
    RS_CLOSES = 1 << 1
    RS_LOGIN_REDIRECT = 1 << 2
    RS_SESSION_PRESENTED = 1 << 3
    RS_SESSION_REISSUED = 1 << 4
    RS_SESSION_ISSUED = 1 << 5
    RS_SESSION_DELETED = 1 << 6
    RS_UNANSWERED = 1 << 7

cdef enum:
    CK_SET = 1 << 0
    CK_SECURE = 1 << 1
    CK_HTTP_ONLY = 1 << 2
    CK_SAMESITE = 1 << 3
    CK_DELETE = 1 << 4
    CK_SESSION = 1 << 5
    CK_BALANCER = 1 << 6
    CK_CUT = 1 << 7
    CK_HAS_PATH = 1 << 8
    CK_DISCLOSES = 1 << 9

cdef enum:
    HL_GREASE = 1 << 0
    HL_ECH = 1 << 1
    HL_POST_QUANTUM = 1 << 2
    HL_TICKET_OFFERED = 1 << 3
    HL_SESSION_ID_OFFERED = 1 << 4
    HL_PSK_OFFERED = 1 << 5
    HL_RETRY = 1 << 6
    HL_SERVER_SEEN = 1 << 7
    HL_RESUMED = 1 << 8
    HL_CLIENT_SEEN = 1 << 9
    HL_EARLY_DATA = 1 << 10
    HL_ALERT = 1 << 11
    HL_CLIENT_CERT_REQUESTED = 1 << 12
    HL_SSLV2 = 1 << 13
    HL_HAS_SNI = 1 << 14

cdef enum:
    PX_V2 = 1 << 0
    PX_LOCAL = 1 << 1
    PX_SSL_TLV = 1 << 2
    PX_SSL_CLIENT = 1 << 3
    PX_CRC_PRESENT = 1 << 4
    PX_CRC_OK = 1 << 5
    PX_AWS_TLV = 1 << 6
    PX_SECOND = 1 << 7

cdef enum:
    SK_BASIC_AUTH = 1
    SK_DIGEST_AUTH
    SK_BEARER_TOKEN
    SK_SESSION_COOKIE
    SK_PASSWORD
    SK_CARD_NUMBER
    SK_API_KEY
    SK_JWT
    SK_SET_COOKIE_SESSION
