"""What is wrong with a value, said in Chinese: one table from the English sentences of the rules."""

from __future__ import annotations

import re
from functools import lru_cache

# English (a pattern; groups are its values) → Chinese. The rules of the contract come first, then what the
# services say of themselves; a sentence that no row knows stays as it is.
_TABLE = (
    (r"is required|value is required", "必填"),
    (r"value is empty, which is not a valid (?:UUID|email address)", "不能为空"),
    (r"must be a valid UUID|value must be a valid UUID", "必须是有效的 UUID"),
    (r"must be a valid email address", "必须是有效的电子邮件地址"),
    (r"must be at most (\d+) characters?", "最多 {0} 个字符"),
    (r"must be at least (\d+) characters?", "至少 {0} 个字符"),
    (r"must contain at least (\d+) item(?:\(s\)|s)?", "至少包含 {0} 项"),
    (r"must contain no more than (\d+) item(?:\(s\)|s)?", "最多包含 {0} 项"),
    (r"must contain unique items|repeated value must contain unique items", "不能有重复项"),
    (r"(?:value )?must be one of the defined enum values", "必须是已定义的枚举值"),
    (r"must be greater than or equal to (\S+) and less than or equal to (\S+)", "必须在 {0} 到 {1} 之间"),
    (r"must be greater than or equal to (\S+) and less than (\S+)", "必须不小于 {0} 且小于 {1}"),
    (r"must be greater than or equal to (\S+)", "必须不小于 {0}"),
    (r"must be greater than (\S+)", "必须大于 {0}"),
    (r"must be less than or equal to (\S+)", "必须不大于 {0}"),
    (r"must be less than (\S+)", "必须小于 {0}"),
    (r"must not be in list \[(.*)\]", "不能是 {0}"),
    (r"must be in list \[(.*)\]", "必须是其中之一：{0}"),
    (r"must be one of (.*)", "必须是其中之一：{0}"),
    (r"must be from (\S+) to (\S+)", "必须在 {0} 到 {1} 之间"),
    (r"must be a name such as (.*)", "必须是类似 {0} 的名称"),
    (r"must be a web address such as (.*)", "必须是网址，例如 {0}"),
    (r"must be a phone number such as (.*)", "必须是电话号码，例如 {0}"),
    (r"must be a network such as (.*)", "必须是网段，例如 {0}"),
    (r"must be TOKENS unless the request comes over HTTPS", "必须是 TOKENS，除非请求通过 HTTPS 发送"),
    (r"Sec-Fetch-Site is not same-origin", "Sec-Fetch-Site 不是 same-origin"),
    (r"neither Sec-Fetch-Site nor Origin was sent", "既没有 Sec-Fetch-Site 也没有 Origin"),
    (r"Origin is another site", "Origin 是其他站点"),
    (r"must have at least (\d+) characters", "至少 {0} 个字符"),
    (r"must have at most (\d+) characters", "最多 {0} 个字符"),
    (r"repeats itself or follows the keyboard", "重复或沿键盘顺序"),
    (r"is one of those that are tried first", "属于最先被猜测的密码"),
    (r"is made from the name or the e-mail", "由姓名或邮箱构成"),
    (r"must be three capital letters such as (.*)", "必须是三个大写字母，例如 {0}"),
    (r"must be two capital letters such as (.*)", "必须是两个大写字母，例如 {0}"),
    (r"must be a language such as (.*)", "必须是语言代码，例如 {0}"),
    (r"must be a permission such as (.*)", "必须是权限，例如 {0}"),
    (r"must be the SHA-256 of the file, 64 hexadecimal digits", "必须是文件的 SHA-256，64 位十六进制数字"),
    (r"must be small letters, digits and _, such as (.*)", "必须由小写字母、数字和下划线组成，例如 {0}"),
    (r"must not hold a NUL character|must not contain the NUL character", "不能包含 NUL 字符"),
    (r"must be a decimal number such as (.*)", "必须是十进制数字，例如 {0}"),
    (r"must have at most four decimal places", "最多四位小数"),
    (r"is too large", "太大"),
    (r"must not be negative", "不能为负"),
    (r"must not be zero", "不能为零"),
    (r"must be more than zero|must be more than 0", "必须大于零"),
    (r"must not be empty", "不能为空"),
    (r"must not be in the future", "不能是将来的日期"),
    (r"must lie between the years (\d+) and (\d+)", "年份必须在 {0} 到 {1} 之间"),
    (r"must be a whole calendar date with year, month and day", "必须是包含年、月、日的完整日期"),
    (r"must be below a whole unit and have the sign of units", "必须小于一个单位，且与 units 同号"),
    (r"must name at least one field", "至少要指明一个字段"),
    (r"must be an object", "必须是对象"),
    (r"must be a list", "必须是列表"),
    (r"must be a string", "必须是字符串"),
    (r"must be true or false", "必须是 true 或 false"),
    (r"must be a whole number", "必须是整数"),
    (r"must be a finite number", "必须是有限的数字"),
    (r"must not be null", "不能为 null"),
    (r"must be a time like (\S+)", "必须是时间，例如 {0}"),
    (r"is not a field", "不是字段"),
    (r"holds a value the platform cannot keep", "含有无法保存的值"),
    (r"the certificate is of nobody who may call here", "该证书不属于允许调用此处的进程"),
)
_ROWS = tuple((re.compile(english), chinese) for english, chinese in _TABLE)


@lru_cache(maxsize=2000)
def in_chinese(english: str) -> str:
    """The same in Chinese, where the table knows it."""
    for row, chinese in _ROWS:
        if found := row.fullmatch(english):
            return chinese.format(*found.groups())
    return english
